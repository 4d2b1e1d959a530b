"""OFFSIDE's overall score of generated answers: the mean of BLEU and the three ROUGE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import RATE, Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.protocols.offside import overlaps
from mmforget.types import Sample, Score


@dataclass(frozen=True)
class GenerationOverall:
    """(BLEU + ROUGE-1 + ROUGE-2 + ROUGE-L) / 4 of each answer, in [0, 1], averaged over questions.

    Source: OFFSIDE (arXiv 2510.22535), Overall, official evaluation code.

    Profiles:
        released: of the released profiles of `bleu` and `rouge_f1`.
        clean: of the clean ones. Mends what they mend.
    """

    name = "generation_overall"
    kind: ClassVar[Kind] = "gen"
    profiles = {"released": "OFFSIDE (arXiv 2510.22535), official code", "clean": "mmforget"}
    range = RATE
    higher_is_better = True
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """The mean of the four for one response."""
        check_profile(self, profile)
        return overlaps.compared(sample, profile=profile, compare=overlaps.mean_of_all)


METRIC = GenerationOverall()
