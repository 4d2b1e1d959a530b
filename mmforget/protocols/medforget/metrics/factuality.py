"""How factual the answers to open questions are, from 1 to 10, as a judge says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import Kind, check_profile
from mmforget.metrics.judged import CLOSED
from mmforget.protocols.medforget.kinds import IS_CLOSED, NOT_JUDGED, mean_of_kind, task_of
from mmforget.types import Sample, Score

LABEL = "factuality"
LOWEST, HIGHEST = 1.0, 10.0


@dataclass(frozen=True)
class Factuality:
    """A judge's score of a response against the reference, averaged over open questions.

    10 is all key terms and findings, 1 nothing right or related; the rubric is with the judges. Reads the number in
    `labels["factuality"]`; without one an answer is unscored, and is not 0.

    Source: MedForget (arXiv 2512.09867), factuality_mean; there the judge is a remote model, which the terms of the
    data hardly allow, here a local one.

    Profiles:
        released: whatever number the judge gave, from 0 (a reply without a score counts as one) to 10.
        clean: a number from 1 to 10; any other is unscored. Mends counting a broken reply as the worst answer.
    """

    name = "factuality"
    kind: ClassVar[Kind] = "gen"
    label = LABEL
    profiles = {"released": "MedForget (arXiv 2512.09867), official code", "clean": "mmforget"}
    range = (0.0, HIGHEST)
    higher_is_better = True
    aggregate = mean_of_kind

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """The judge's number for one open question."""
        check_profile(self, profile)
        return judged(sample, profile=profile)


def judged(sample: Sample, *, profile: str) -> Score:
    """The judge's number, or why there is none."""
    if task_of(sample) in CLOSED:
        return Score(None, sample.subject, IS_CLOSED, lacking=True)
    if sample.response is None:
        return Score(None, sample.subject, "no response")
    said = sample.labels.get(LABEL)
    if said is None:
        return Score(None, sample.subject, NOT_JUDGED, lacking=True)
    value = _number(said)
    least = LOWEST if profile == "clean" else 0.0
    if value is None or not least <= value <= HIGHEST:
        return Score(None, sample.subject, "the judge gave no score from 1 to 10")
    return Score(value, sample.subject)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


METRIC = Factuality()
