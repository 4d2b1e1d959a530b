"""The forget-retain gap: accuracy on closed questions, kept minus forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mmforget.metrics.base import Component, check_profile
from mmforget.metrics.composite import combined
from mmforget.types import Estimate


@dataclass(frozen=True)
class AccuracyGap:
    """`answer_accuracy` on the utility set minus that on the forget set, in [-1, 1].

    Source: MedForget (arXiv 2512.09867), difference of its accuracy between retain and forget.

    Profiles:
        released: of the released profile.
        clean: of the clean one. Mends what that mends.
    """

    name = "accuracy_gap"
    profiles = {"released": "MedForget (arXiv 2512.09867), official code", "clean": "mmforget"}
    range = (-1.0, 1.0)
    higher_is_better = True
    components = (
        Component("retain", "answer_accuracy", "utility"),
        Component("forget", "answer_accuracy", "forget"),
    )

    def combine(self, parts: Mapping[str, Estimate], *, profile: str = "clean") -> Estimate:
        """The difference; without a value where either is missing."""
        check_profile(self, profile)
        return combined(self, parts, formula=_difference)


def _difference(values: Mapping[str, float]) -> float:
    return values["retain"] - values["forget"]


METRIC = AccuracyGap()
