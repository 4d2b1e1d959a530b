"""Membership inference by queries: which of them does the model still find as familiar as before unlearning?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import RATE, Kind, Other, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.logprobs import NOT_FINITE
from mmforget.types import Estimate, Sample, Score

TENTHS = 4
NEAR = 1.15


@dataclass(frozen=True)
class QueryMembership:
    """Share of queries whose Min-K % loss before over after unlearning lies in [1/1.15, 1.15], in [0, 1].

    Min-K % loss is the mean negative log-prob of the 40 % least expected tokens of the query, at least one of them.
    Such a query is "suspicious": the model takes it for a member as it did before. The target itself has 1.

    Source: MMUBench (arXiv 2405.12523), "MIA"; Min-K % is Shi et al., arXiv 2310.16789.

    Profiles:
        paper: as above. The official script takes its log-probs unshifted and from misaligned positions behind an
            image, which is left out. Of suspicious queries it then compares the answers before and after by ROUGE-L;
            that second step is not computed here.
    """

    name = "query_membership"
    kind: ClassVar[Kind] = "prob"
    other: ClassVar[Other] = "target"
    profiles = {"paper": "MMUBench (arXiv 2405.12523)"}
    range = RATE
    higher_is_better = False

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "paper") -> Estimate:
        """The share with its 95 % interval by subject; `other` are the target's samples of the same queries."""
        check_profile(self, profile)
        before = {sample.id: sample for sample in other}
        return mean_estimate(self, [_score(sample, before.get(sample.id)) for sample in samples])


def min_k_loss(token_logprobs: Sequence[float]) -> float:
    """Mean negative log-prob of the floor(4 T / 10) lowest of T tokens, at least one; >= 0, perhaps infinite."""
    lowest = sorted(min(0.0, value) for value in token_logprobs)[: max(1, len(token_logprobs) * TENTHS // 10)]
    return -math.fsum(lowest) / len(lowest)


def _score(sample: Sample, before: Sample | None) -> Score:
    if before is None:
        return Score(None, sample.subject, "the target model was not asked")
    found = [one.token_logprobs.get("answer", ()) for one in (sample, before)]
    if not all(found):
        return Score(None, sample.subject, "no log-probs for 'answer'")
    if any(math.isnan(value) or value == math.inf for values in found for value in values):
        return Score(None, sample.subject, NOT_FINITE)
    now, then = map(min_k_loss, found)
    if math.isinf(now) or math.isinf(then) or now == then:
        return Score(float(now == then), sample.subject)
    return Score(float(then <= NEAR * now and now <= NEAR * then), sample.subject)


METRIC = QueryMembership()
