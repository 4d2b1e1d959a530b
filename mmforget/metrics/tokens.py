"""What is known of each token of an answer: which of them a profile takes, and where the model would have said them.

OpenUnlearning drops an answer's last token where it looks at tokens one by one, since it takes that one for the end of
the answer; T tokens are then T - 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from mmforget.metrics.logprobs import NOT_FINITE
from mmforget.types import IS_BEST, Sample

NO_TOKENS = "no answer tokens"
DROPS_LAST = ("openunlearning",)


class Hits(NamedTuple):
    """By token whether the model holds it the most likely one; or the reason why nobody knows."""

    values: tuple[bool, ...]
    reason: str = ""


class Column(NamedTuple):
    """Numbers of an answer's tokens; or the reason why there are none."""

    values: tuple[float, ...]
    reason: str = ""


def hits(sample: Sample, *, profile: str) -> Hits:
    """Of the answer's tokens that the profile takes, whether each is the most likely one; may be none."""
    found = sample.token_values.get(IS_BEST, {}).get("answer")
    logprobs = answer_tokens(sample, profile=profile)
    if logprobs.reason and logprobs.reason != NO_TOKENS:
        return Hits((), logprobs.reason)
    if found is None:
        return Hits((), logprobs.reason or "nothing says which tokens are the most likely ones")
    return Hits(tuple(value == 1.0 for value in kept(found, profile=profile)))


def answer_tokens(sample: Sample, *, profile: str) -> Column:
    """Log-probs of the answer's tokens that the profile takes, at least one."""
    answers = sample.with_role("answer", profile=profile)
    if not answers or not answers[0]:
        return Column((), sample.unanswered or NO_TOKENS)
    if any(math.isnan(value) or value == math.inf for value in answers[0]):
        return Column((), NOT_FINITE)
    values = tuple(kept(answers[0], profile=profile))
    return Column(values, "" if values else NO_TOKENS)


def statistic(sample: Sample, name: str, *, profile: str) -> Column:
    """A token statistic of the answer's tokens that the profile takes."""
    found = sample.token_values.get(name, {}).get("answer")
    if found is None:
        return Column((), f"no {name} of the answer's tokens")
    if not all(map(math.isfinite, found)):
        return Column((), f"the {name} of a token is not a number")
    return Column(tuple(kept(found, profile=profile)))


def kept(values: Sequence[float], *, profile: str) -> Sequence[float]:
    """The tokens that a profile takes."""
    return values[:-1] if profile in DROPS_LAST else values
