"""What is left of a model beside its targets: neighbours, and what RWKU asks of everybody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mmforget.metrics.base import RATE, Component, check_profile
from mmforget.metrics.composite import combined, harmonic
from mmforget.types import Estimate


@dataclass(frozen=True)
class RwkuUtility:
    """Harmonic mean of the rates that should stay, in [0, 1]; one of them at 0 makes it 0.

    ROUGE-L recall on both levels of the neighbours, and as far as they are asked accuracy of MMLU and TruthfulQA (MC1),
    EM of BBH and F1 of TriviaQA. Fluency, which is no rate, stands beside it.

    Source: the harness's own, of RWKU's numbers (arXiv 2406.10890), which RWKU itself does not put together.

    Profiles:
        clean: of the clean rates. Mends that a model may be ranked by what it forgets alone.
    """

    name = "rwku_utility"
    profiles = {"clean": "mmforget"}
    range = RATE
    higher_is_better = True
    components = (
        Component("neighbour_level1", "rouge_l", "neighbour_level1"),
        Component("neighbour_level2", "rouge_l", "neighbour_level2"),
        Component("general", "choice_accuracy", "general", required=False),
        Component("reason", "short_answer", "reason", required=False),
        Component("truthfulness", "choice_accuracy", "truthfulness", required=False),
        Component("factuality", "short_answer", "factuality", required=False, args={"part": "f1"}),
    )

    def combine(self, parts: Mapping[str, Estimate], *, profile: str = "clean") -> Estimate:
        """The harmonic mean of the components that were asked."""
        check_profile(self, profile)
        return combined(self, parts, formula=harmonic)


METRIC = RwkuUtility()
