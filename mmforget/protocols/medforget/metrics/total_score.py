"""A quarter ROUGE-L F1, three quarters factuality, of the answers to open questions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import RATE, Kind, check_profile
from mmforget.protocols.medforget.kinds import mean_of_kind
from mmforget.protocols.medforget.metrics import factuality
from mmforget.protocols.medforget.metrics.rouge_l_f1 import score_open
from mmforget.types import Sample, Score

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

    name = "total_score"
    kind: ClassVar[Kind] = "gen"
    label = factuality.LABEL
    profiles = {"released": "MedForget (arXiv 2512.09867), official code", "clean": "mmforget"}
    range = RATE
    higher_is_better = True
    aggregate = mean_of_kind

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


METRIC = TotalScore()
