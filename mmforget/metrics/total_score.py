"""A quarter ROUGE-L F1, three quarters factuality, of the answers to open questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmforget.metrics import factuality
from mmforget.metrics.base import Kind, check_profile
from mmforget.metrics.medical import mean_of_kind
from mmforget.metrics.rouge_l_f1 import score_open
from mmforget.types import Estimate, Sample, Score

ROUGE_WEIGHT, FACTUALITY_WEIGHT = 0.25, 0.75


@dataclass(frozen=True)
class TotalScore:
    """0.25 R + 0.75 F / 10 in [0, 1], with R of `rouge_l_f1` and F of `factuality`, averaged over open questions.

    Source: MedForget (arXiv 2512.09867), total_score_mean of generation, over the answers that were judged. Its average
    over a whole split, in which an answer that was not judged counts as 0.25 R, is not computed.

    Profiles:
        released: from the released profiles of both.
        clean: from the clean ones. Mends what they mend.
    """

    name: str = "total_score"
    kind: Kind = "gen"
    label: str | None = factuality.LABEL
    profiles: tuple[str, ...] = ("released", "clean")
    range: tuple[float, float] = (0.0, 1.0)
    higher_is_better: bool | None = True

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """The weighted mean for one open question."""
        check_profile(self, profile)
        judged = factuality.judged(sample, profile=profile)
        rouge = score_open(sample, profile=profile)
        for part in (judged, rouge):
            if part.value is None:
                return part
        value = ROUGE_WEIGHT * (rouge.value or 0.0) + FACTUALITY_WEIGHT * (judged.value or 0.0) / factuality.HIGHEST
        return Score(value, sample.subject)

    def aggregate(self, scores: Sequence[Score]) -> Estimate:
        """Mean with its 95 % interval by subject."""
        return mean_of_kind(self, scores)


METRIC = TotalScore()
