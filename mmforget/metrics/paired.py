"""Metrics that compare each row with the same row of another model: which rows go together, and their scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from mmforget.metrics.base import ReferenceMetric
from mmforget.metrics.logprobs import NOT_FINITE, Nats
from mmforget.types import Sample, Score


@runtime_checkable
class PairedMetric(ReferenceMetric, Protocol):
    """A reference metric that is the mean over rows, each compared with the other model's: it has an interval of its
    own, and so has what is composed of it.
    """

    def pairs(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> list[Score]:
        """The score of every row."""


def paired(
    samples: Sequence[Sample], other: Sequence[Sample], *, score: Callable[[Sample, Sample], Score]
) -> list[Score]:
    """`score(before, now)` of every sample and the other model's of the same row; unscored where it was not asked."""
    before = {sample.id: sample for sample in other}
    return [
        score(before[sample.id], sample)
        if sample.id in before
        else Score(None, sample.subject, "the other model was not asked")
        for sample in samples
    ]


def answer_logprob(sample: Sample, role: str) -> Nats:
    """Log-probability of a whole candidate, the sum of its tokens', at most 0; None where it was not scored."""
    tokens = sample.token_logprobs.get(role)
    if not tokens:
        return Nats(None, f"no log-probs for '{role}'", lacking=bool(sample.token_logprobs))
    if any(math.isnan(value) or value == math.inf for value in tokens):
        return Nats(None, NOT_FINITE)
    return Nats(min(0.0, math.fsum(tokens)))
