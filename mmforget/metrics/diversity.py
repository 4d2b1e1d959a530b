"""Diversity of an answer's words: how many of them are different."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import RATE, Kind, check_profile
from mmforget.metrics.degenerate import why_degenerate
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.responses import words
from mmforget.types import Sample, Score


@dataclass(frozen=True)
class Diversity:
    """Different words over all words of an answer, in [0, 1], averaged over answers.

    The official tables print it in percent. What the paper describes instead is `unique_words`.

    Source: MMUBench (arXiv 2405.12523), "Diversity", official script.

    Profiles:
        released: words are what stands between blanks, with their case and punctuation; an empty answer scores 0. The
            official script counts characters instead of words for two of its methods at many steps, which is left out.
        clean: words of any script, without case and punctuation; an empty or degenerate answer scores 0. Mends short
            gibberish that has no word twice, and counting "No," and "no" as two words.
    """

    name = "diversity"
    kind: ClassVar[Kind] = "gen"
    profiles = {"released": "MMUBench (arXiv 2405.12523), official code", "clean": "mmforget"}
    range = RATE
    higher_is_better = True
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """Share of different words in one answer."""
        check_profile(self, profile)
        if sample.response is None:
            return Score(None, sample.subject, "no response")
        if profile == "clean" and why_degenerate(sample.response, reference=sample.answer):
            return Score(0.0, sample.subject)
        said = sample.response.split() if profile == "released" else words(sample.response)
        return Score(len(set(said)) / len(said) if said else 0.0, sample.subject)


METRIC = Diversity()
