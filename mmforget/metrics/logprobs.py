"""Losses and probabilities of answers from their token log-probs. T tokens an answer, natural logarithms.

The released FIUBench code sums T losses and divides by T + 1, because the mask it counts with covers one prompt token
that the shifted sum does not (`released`). Everyone else divides by T (`clean`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from mmforget.types import Sample

NOT_FINITE = "a log-probability is not a number"


class Nats(NamedTuple):
    """A number in nats, possibly infinite, or None with the reason and whether the row lacks the candidates."""

    value: float | None
    reason: str = ""
    lacking: bool = False


class RoleLosses(NamedTuple):
    """Losses of all candidates of a role, in order, or none with the reason and whether there are no candidates."""

    values: list[float]
    reason: str = ""
    lacking: bool = False


def mean_loss(token_logprobs: Sequence[float], *, profile: str) -> Nats:
    """Mean negative log-prob, at least 0: over T + 1 for `released`, else over T. None without tokens or with a NaN."""
    if not token_logprobs:
        return Nats(None, "no answer tokens")
    if any(math.isnan(value) or value == math.inf for value in token_logprobs):
        return Nats(None, NOT_FINITE)
    denominator = len(token_logprobs) + (1 if profile == "released" else 0)
    # Rounding can leave a log-prob a hair above zero, and a probability above one would break every range below.
    return Nats(max(0.0, -math.fsum(token_logprobs) / denominator))


def role_loss(sample: Sample, role: str, *, profile: str) -> Nats:
    """Mean over all candidates of a role of their `mean_loss`: the loss of their geometric-mean probability."""
    losses = role_losses(sample, role, profile=profile)
    if losses.reason:
        return Nats(None, losses.reason, losses.lacking)
    return Nats(math.fsum(losses.values) / len(losses.values))


def role_losses(sample: Sample, role: str, *, profile: str) -> RoleLosses:
    """`mean_loss` of every candidate of a role, or the reason why there are none."""
    candidates = sample.with_role(role, profile=profile)
    losses = [mean_loss(candidate, profile=profile) for candidate in candidates]
    faults = [loss.reason for loss in losses if loss.value is None]
    if faults or not candidates:
        # Without any log-prob it is the model that gave none, and nobody knows what the row has.
        lacking = not candidates and bool(sample.token_logprobs)
        return RoleLosses([], faults[0] if faults else f"no log-probs for '{role}'", lacking)
    return RoleLosses([loss.value for loss in losses if loss.value is not None])


def log_truth_ratio(sample: Sample, *, profile: str) -> Nats:
    """log r = mean over perturbed of their loss - loss of the rephrased answer; above 0 means truth is preferred.

    Any real number, infinite where one side is impossible to the model, None with the reason where both are.
    """
    truth = role_loss(sample, "rephrased", profile=profile)
    false = role_loss(sample, "perturbed", profile=profile)
    if truth.value is None or false.value is None:
        return Nats(None, truth.reason or false.reason, truth.lacking or false.lacking)
    if math.isinf(truth.value) and math.isinf(false.value):
        return Nats(None, "true and perturbed answers are both impossible")
    return Nats(false.value - truth.value)
