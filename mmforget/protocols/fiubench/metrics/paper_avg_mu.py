"""FIUBench's published average of model utility."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mmforget.metrics.base import RATE, Component, check_profile
from mmforget.metrics.composite import combined
from mmforget.types import Estimate


@dataclass(frozen=True)
class PaperAvgMU:
    """Arithmetic mean of ROUGE-L, judge's score, truth ratio and accuracy on the retain set, in [0, 1].

    An arithmetic mean lets one ability pay for another that is gone; `model_utility` does not. The judge (GPT-eval) and
    the accuracy on MME and POPE, evidently relative to the retain model, are not computed here: without them there is
    no value.

    Source: FIUBench (arXiv 2411.03554), column "Avg" of model utility; checked against the transcribed rows.

    Profiles:
        paper: as above, from the released profile of its components.
    """

    name = "paper_avg_mu"
    profiles = {"paper": "FIUBench (arXiv 2411.03554)"}
    range = RATE
    higher_is_better = True
    components = (
        Component("rouge", "rouge_l", "utility"),
        Component("judge", "judge", "utility"),
        Component("truth", "truth_ratio_retain", "utility"),
        Component("accuracy", "general_accuracy", "utility"),
    )

    def combine(self, parts: Mapping[str, Estimate], *, profile: str = "paper") -> Estimate:
        """Mean of the four components; without a value where one is missing."""
        check_profile(self, profile)
        return combined(self, parts, formula=_mean)


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values)


METRIC = PaperAvgMU()
