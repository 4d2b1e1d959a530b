"""RWKU's `All`: what is still said of a target in all its probes together, or of its neighbours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mmforget.metrics.base import RATE, RWKU_CODE, Component, check_profile
from mmforget.metrics.composite import combined
from mmforget.types import Estimate

SETS = {
    "forget": ("forget_level1", "forget_level2", "forget_level3"),
    "neighbour": ("neighbour_level1", "neighbour_level2"),
}


@dataclass(frozen=True)
class ProbeRecall:
    """Mean ROUGE-L recall over the probes of all levels together, in [0, 1]: every probe counts once.

    Args:
        of: `forget`, blanks, questions and attacks about the targets; `neighbour`, blanks and questions about others.

    Source: RWKU (arXiv 2406.10890), the columns `All`. Its code prints the levels alone; their mean weighted by numbers
    of probes is what the published columns agree with, up to the mean over targets.

    Profiles:
        rwku_paper: of recall as RWKU's code has it.
        clean: of the clean recall. Mends what that mends.
    """

    of: Literal["forget", "neighbour"] = "forget"

    name = "probe_recall"
    profiles = {"rwku_paper": RWKU_CODE, "clean": "mmforget"}
    range = RATE
    higher_is_better = True

    @property
    def components(self) -> tuple[Component, ...]:
        """Recall on each level."""
        return tuple(Component(name, "rouge_l", name, required=name != "forget_level3") for name in SETS[self.of])

    def combine(self, parts: Mapping[str, Estimate], *, profile: str = "clean") -> Estimate:
        """The mean of the levels, each weighted by its number of probes."""
        check_profile(self, profile)
        return combined(self, parts, formula=lambda values: _weighted(values, parts=parts))


def _weighted(values: Mapping[str, float], *, parts: Mapping[str, Estimate]) -> float:
    counts = {key: max(1, parts[key].num_scored) for key in values}
    return math.fsum(counts[key] * value for key, value in values.items()) / sum(counts.values())


METRIC = ProbeRecall()
