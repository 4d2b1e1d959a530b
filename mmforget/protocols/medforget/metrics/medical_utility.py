"""Medical utility: what the model still knows of the records that should be kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mmforget.metrics.base import RATE, Component, check_profile
from mmforget.metrics.composite import combined, harmonic
from mmforget.types import Estimate


@dataclass(frozen=True)
class MedicalUtility:
    """Harmonic mean of accuracy on closed and ROUGE-L F1 on open questions of the utility set, in [0, 1].

    One of them at 0 makes it 0, so that knowing options cannot pay for sentences that are gone.

    Source: the harness's own; MedForget (arXiv 2512.09867) reports its kinds of questions one by one, and its
    "downstream utility" is of data sets that it does not name where it could be read.

    Profiles:
        clean: from the clean profiles of `answer_accuracy` and `rouge_l_f1`. Mends having no one number for what is
            kept, without which a model that forgot everything looks best.
    """

    name = "medical_utility"
    profiles = {"clean": "mmforget"}
    range = RATE
    higher_is_better = True
    components = (
        Component("accuracy", "answer_accuracy", "utility", required=False),
        Component("rouge", "rouge_l_f1", "utility", required=False),
    )

    def combine(self, parts: Mapping[str, Estimate], *, profile: str = "clean") -> Estimate:
        """Harmonic mean of the kinds of questions that there are."""
        check_profile(self, profile)
        return combined(self, parts, formula=harmonic)


METRIC = MedicalUtility()
