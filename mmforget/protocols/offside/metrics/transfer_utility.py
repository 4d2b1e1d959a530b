"""What the model still knows of the transfers that should be kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mmforget.metrics.base import RATE, Component, check_profile
from mmforget.metrics.composite import combined, harmonic
from mmforget.types import Estimate


@dataclass(frozen=True)
class TransferUtility:
    """Harmonic mean of the overall score of answers and the accuracy of options on what should be kept, in [0, 1].

    Source: the harness's own; OFFSIDE (arXiv 2510.22535) reports both apart, and MMBench by another repository.

    Profiles:
        clean: of `generation_overall` on the utility set and `option_accuracy` on `retain_choice`, where it was asked.
            Mends having no one number for what is kept.
    """

    name = "transfer_utility"
    profiles = {"clean": "mmforget"}
    range = RATE
    higher_is_better = True
    components = (
        Component("answers", "generation_overall", "utility", required=False),
        Component("options", "option_accuracy", "retain_choice", required=False),
    )

    def combine(self, parts: Mapping[str, Estimate], *, profile: str = "clean") -> Estimate:
        """Harmonic mean of what was asked."""
        check_profile(self, profile)
        return combined(self, parts, formula=harmonic)


METRIC = TransferUtility()
