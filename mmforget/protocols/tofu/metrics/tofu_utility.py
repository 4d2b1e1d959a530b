"""TOFU's model utility: what is left of the other authors, of real ones and of the world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mmforget.metrics.base import OPENUNLEARNING, RATE, TOFU, TOFU_CODE, Component, check_profile
from mmforget.metrics.composite import combined, harmonic
from mmforget.types import Estimate


def _parts(role: str, *, probability: str) -> tuple[Component, ...]:
    named = {"probability": probability, "rouge": "rouge_l", "truth": "truth_ratio_retain"}
    return tuple(Component(f"{role}/{key}", metric, role) for key, metric in named.items())


@dataclass(frozen=True)
class TofuUtility:
    """Harmonic mean of nine rates, in [0, 1]; one of them at 0 makes it 0.

    Probability, ROUGE-L recall and truth ratio on each of three sets: the authors that are kept, real authors, and
    facts about the world. On the last two the probability is weighed against wrong answers.

    Source: TOFU (arXiv 2401.06121).

    Profiles:
        clean: of the clean rates, all of which have to be there. Mends what these mend.
        tofu_paper: of the rates as TOFU's code has them.
        openunlearning: of the rates as OpenUnlearning (arXiv 2506.12618) has them.
    """

    name = "tofu_utility"
    profiles = {"clean": TOFU, "tofu_paper": TOFU_CODE, "openunlearning": OPENUNLEARNING}
    range = RATE
    higher_is_better = True
    components = (
        *_parts("utility", probability="probability"),
        *_parts("real_authors", probability="probability_normalised"),
        *_parts("world_facts", probability="probability_normalised"),
    )

    def combine(self, parts: Mapping[str, Estimate], *, profile: str = "clean") -> Estimate:
        """The harmonic mean of the nine components."""
        check_profile(self, profile)
        return combined(self, parts, formula=harmonic)


METRIC = TofuUtility()
