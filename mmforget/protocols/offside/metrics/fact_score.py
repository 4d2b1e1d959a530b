"""How much of an answer is right, from 0 to 10, as a judge says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.judged import GRADED
from mmforget.types import Sample, Score

LABEL = "fact_score"
LOWEST, HIGHEST = GRADED[LABEL]
NOT_JUDGED = "no judge; choose one with --judge, e.g. hf:MODEL"


@dataclass(frozen=True)
class FactScore:
    """A judge's grade of a response against its reference, from 0 (no language) to 10, averaged over questions.

    The rubric is with the judges. Reads the number in `labels["fact_score"]`; without a judge there is no value.

    Source: OFFSIDE (arXiv 2510.22535), factuality score; there the judge is a remote model at temperature 0.2.

    Profiles:
        released: whatever the judge did not grade, or not readably, is 0.
        clean: what cannot be read is unscored, and an empty response is 0. Mends a judge's failure that counts as
            forgetting.
    """

    name = "fact_score"
    kind: ClassVar[Kind] = "gen"
    label = LABEL
    profiles = {"released": "OFFSIDE (arXiv 2510.22535), official code", "clean": "mmforget"}
    range = (float(LOWEST), float(HIGHEST))
    higher_is_better = True
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """The judge's grade of one response."""
        check_profile(self, profile)
        if sample.response is None:
            return Score(None, sample.subject, "no response")
        said = sample.labels.get(LABEL)
        if said is None:
            return Score(None, sample.subject, NOT_JUDGED, lacking=True)
        if not sample.response.strip():
            return Score(0.0, sample.subject)
        grade = int(said) if said.isdecimal() else -1
        if LOWEST <= grade <= HIGHEST:
            return Score(float(grade), sample.subject)
        if profile == "released":
            return Score(0.0, sample.subject)
        return Score(None, sample.subject, f"the judge gave no grade from {LOWEST} to {HIGHEST}")


METRIC = FactScore()
