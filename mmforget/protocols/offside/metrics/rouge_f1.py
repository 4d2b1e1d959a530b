"""ROUGE-1, ROUGE-2 or ROUGE-L of the whole response, as F-measure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from mmforget.metrics.base import RATE, Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.protocols.offside.overlaps import NO_PAIRS, compared, has_pairs, rouge_f
from mmforget.types import Sample, Score


@dataclass(frozen=True)
class RougeF1:
    """F-measure over Porter-stemmed words of the whole response, in [0, 1], averaged over questions.

    Args:
        of: `rouge1` and `rouge2` count words and pairs of words that both texts hold, `rougeL` their longest common
            subsequence.

    Source: OFFSIDE (arXiv 2510.22535), ROUGE-1, -2 and -L, official evaluation code through `rouge_score`.

    Profiles:
        released: an empty response is left out of the mean, so that a collapsed model is scored on what is left of it.
        clean: an empty response is 0, and words of any script count. Mends both.
    """

    of: Literal["rouge1", "rouge2", "rougeL"] = "rougeL"

    name = "rouge_f1"
    kind: ClassVar[Kind] = "gen"
    profiles = {"released": "OFFSIDE (arXiv 2510.22535), official code", "clean": "mmforget"}
    range = RATE
    higher_is_better = True
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """Overlap of the sample's answer with its response."""
        check_profile(self, profile)
        if self.of == "rouge2" and not has_pairs(sample.answer, profile=profile):
            return Score(None, sample.subject, NO_PAIRS, lacking=True)
        return compared(sample, profile=profile, compare=partial(rouge_f, of=self.of))


METRIC = RougeF1()
