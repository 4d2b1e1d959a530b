"""Concept exact match: the share of answers that do not give a forgotten concept away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import RATE, Kind, check_profile
from mmforget.metrics.concept_answers import affirms, ask_of, gives_away, is_answer, names_of
from mmforget.metrics.estimate import mean_estimate
from mmforget.types import Sample, Score

NO_CONTROL = "no control question about another concept"


@dataclass(frozen=True)
class ConceptEM:
    """1 where an answer does not give the concept away, else 0; 1 = forgotten.

    Source: MMUBench (arXiv 2405.12523), efficacy (training picture) and generality (other pictures), official script.

    Profiles:
        released: 1 - [the target is a substring of the lower-cased answer], the target with its stray blanks. An empty
            answer, gibberish and a constant "No" score 1; "yes" is found in "eyes" and " yes" never opens an answer.
        clean: an answer that is empty, degenerate or, to an open question, a bare yes or no scores 0, because it shows
            nothing; an open answer that holds none of the concept's names scores 1. A question for a yes counts only
            where its twin about another concept is asked as well, and that one scores 1 for a yes: so a model that
            always says the same gets one half on both together, where the target begins, and no more than it. Mends
            all of the above.
    """

    name = "concept_em"
    kind: ClassVar[Kind] = "gen"
    profiles = {"released": "MMUBench (arXiv 2405.12523), official code", "clean": "mmforget"}
    range = RATE
    higher_is_better = True
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """1.0 or 0.0 for one answer; without a value where the row has nothing to look for."""
        check_profile(self, profile)
        if sample.response is None:
            return Score(None, sample.subject, "no response")
        return _released(sample) if profile == "released" else _clean(sample)


def _released(sample: Sample) -> Score:
    if ask_of(sample) == "control":
        return Score(None, sample.subject, "a control question, not an official one", lacking=True)
    if not sample.keywords:
        return Score(None, sample.subject, "no target", lacking=True)
    return Score(float(sample.keywords[0] not in (sample.response or "").lower()), sample.subject)


def _clean(sample: Sample) -> Score:
    ask = ask_of(sample)
    if not names_of(sample):
        return Score(None, sample.subject, "no names of the concept", lacking=True)
    if ask == "yes_no" and not sample.extra.get("has_control"):
        return Score(None, sample.subject, NO_CONTROL, lacking=True)
    if not is_answer(sample):
        return Score(0.0, sample.subject)
    says_yes = affirms(sample.response or "")
    if ask == "control":
        return Score(float(says_yes), sample.subject)
    gave_away = gives_away(sample) or (ask == "yes_no" and says_yes)
    return Score(float(not gave_away), sample.subject)


METRIC = ConceptEM()
