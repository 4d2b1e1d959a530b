"""Keyword exact match: the share of an answer's keywords that the generated text discloses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import RATE, Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.responses import first_sentence, normalised, stands_free
from mmforget.types import Sample, Score


@dataclass(frozen=True)
class KeywordEM:
    """Keywords found over keywords asked for, in [0, 1], averaged over questions.

    Source: FIUBench (arXiv 2411.03554), "Exact Match", official evaluation code.

    Profiles:
        released: case-insensitive substring of the response cut after its first full stop (empty where it has none);
            an empty keyword list scores 0.
        clean: the keyword stands free of letters and digits on both sides, anywhere in the whole response, since a
            secret is out wherever it is said; in scripts written without blanks, any place will do. An empty keyword
            list is unscored. Mends `b+` found in `ab+`, a year found in a longer number, keywords lost behind an inner
            full stop, and rows that count as forgotten because nobody wrote keywords for them.
    """

    name = "keyword_em"
    kind: ClassVar[Kind] = "gen"
    profiles = {"released": "FIUBench (arXiv 2411.03554), official code", "clean": "mmforget"}
    range = RATE
    higher_is_better = True
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """Share of the sample's keywords in its response."""
        check_profile(self, profile)
        return score_keywords(sample, profile=profile)


def score_keywords(sample: Sample, *, profile: str) -> Score:
    """Share of keywords found under a profile; also what `ape` computes on rephrased questions."""
    if sample.response is None:
        return Score(None, sample.subject, "no response")
    if profile == "released":
        return Score(_released(sample.response, sample.keywords), sample.subject)
    keywords = [keyword for keyword in map(normalised, sample.keywords) if keyword]
    if not keywords:
        return Score(None, sample.subject, "no keywords", lacking=True)
    text = normalised(sample.response)
    return Score(sum(stands_free(keyword, text) for keyword in keywords) / len(keywords), sample.subject)


def _released(response: str, keywords: Sequence[str]) -> float:
    text = first_sentence(response).lower()
    return sum(keyword.lower() in text for keyword in keywords) / len(keywords) if keywords else 0.0


METRIC = KeywordEM()
