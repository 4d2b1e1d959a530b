"""Whole-answer recall: 1 where the generated answer is the reference, word for word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import RATE, Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.responses import answer_part, bare
from mmforget.types import Sample, Score


@dataclass(frozen=True)
class ExactMatch:
    """1 where the answer part of the response equals the reference, else 0; the rate of answers recalled exactly.

    Source: the harness's own; it is what the memorisation gate reads. Not FIUBench's "Exact Match", which is
    `keyword_em`.

    Profiles:
        clean: equality after Unicode compatibility form, case folding, single blanks and without closing punctuation;
            the response is cut after as many lines and full stops as the reference holds. Mends the comparison of
            keywords, which an answer about something else can pass.
    """

    name = "exact_match"
    kind: ClassVar[Kind] = "gen"
    profiles = {"clean": "mmforget"}
    range = RATE
    higher_is_better = True
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """1.0 or 0.0 for one response."""
        check_profile(self, profile)
        if sample.response is None:
            return Score(None, sample.subject, "no response")
        wanted = bare(sample.answer)
        if not wanted:
            return Score(None, sample.subject, "the reference answer is empty", lacking=True)
        said = bare(answer_part(sample.response, reference=sample.answer))
        return Score(float(said == wanted), sample.subject)


METRIC = ExactMatch()
