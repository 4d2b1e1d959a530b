"""Losses and probabilities of answers from their token log-probs. T tokens an answer, natural logarithms.

The released FIUBench code sums T losses and divides by T + 1, because the mask it counts with covers one prompt token
that the shifted sum does not (`released`). Everyone else divides by T (`clean`, `tofu_paper`, `openunlearning`).
OpenUnlearning adds `EPSILON` to what it divides by; TOFU's code does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from mmforget.types import Sample

EPSILON = 1e-10
"""What OpenUnlearning adds to denominators."""
Mean = Literal["geometric", "arithmetic"]
"""Of the probabilities of several wrong answers."""
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


def log_truth_ratio(sample: Sample, *, profile: str, mean: Mean = "geometric") -> Nats:
    """log r = loss of the perturbed answers - loss of the rephrased answer; above 0 means truth is preferred.

    Args:
        mean: how the perturbed answers' probabilities become one: `geometric` is the mean of their losses.

    Any real number, infinite where one side is impossible to the model, None with the reason where both are. Under
    `openunlearning` the rephrased answer's probability is larger by `EPSILON`, so that log r is at least log `EPSILON`
    less than the perturbed answers' log-prob.
    """
    truth = role_loss(sample, "rephrased", profile=profile)
    false = role_losses(sample, "perturbed", profile=profile)
    if truth.value is None or false.reason:
        return Nats(None, truth.reason or false.reason, truth.lacking or false.lacking)
    loss = math.fsum(false.values) / len(false.values) if mean == "geometric" else _loss_of_mean(false.values)
    true_loss = _with_epsilon(truth.value) if profile == "openunlearning" else truth.value
    if math.isinf(true_loss) and math.isinf(loss):
        return Nats(None, "true and perturbed answers are both impossible")
    return Nats(loss - true_loss)


def ratio(log_r: float) -> float:
    """1/r, which TOFU and OpenUnlearning call the truth ratio: perturbed over rephrased; infinite beyond a float."""
    return math.exp(-log_r) if log_r > -700.0 else math.inf


def _loss_of_mean(losses: Sequence[float]) -> float:
    """-log of the mean of exp(-loss); infinite where all are."""
    least = min(losses)
    if math.isinf(least):
        return math.inf
    return least - math.log(math.fsum(math.exp(least - loss) for loss in losses) / len(losses))


def _with_epsilon(loss: float) -> float:
    """-log(exp(-loss) + EPSILON)."""
    return -math.log(math.exp(-loss) + EPSILON)
