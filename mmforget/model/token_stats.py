"""Numbers of a token's distribution that methods and metrics ask for by name.

Each takes log-probs float32 [n, V] and the tokens that came, int64 [n], and gives float32 [n], differentiable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mmforget.errors import UnknownName
from mmforget.model.head import Statistic

TOP_K = 10
BLOCK = 2**17
"""Numbers at a time: half a megabyte."""
IMPOSSIBLE = -1e9
"""A log-prob so low that the probability is 0 and has no part, though minus infinity times 0 would be no number."""


def entropy(logprobs: Tensor, target: Tensor) -> Tensor:
    """Shannon entropy in nats."""
    return _in_blocks(_entropy, logprobs)


def variance(logprobs: Tensor, target: Tensor) -> Tensor:
    """Variance of the log-prob of a token drawn from the distribution, in nats squared, at least 0."""
    return _in_blocks(_variance, logprobs)


def _in_blocks(function: Callable[[Tensor], Tensor], logprobs: Tensor) -> Tensor:
    """A function of each row: on a processor, and where nothing is differentiated, of as many at a time as its cache
    holds, since what is made on the way is as large as the log-probs.
    """
    if logprobs.requires_grad or logprobs.device.type != "cpu":
        return function(logprobs)
    num_rows = max(1, BLOCK // max(1, logprobs.shape[-1]))
    return torch.cat([function(block) for block in torch.split(logprobs, num_rows)])


def _entropy(logprobs: Tensor) -> Tensor:
    return -(logprobs.exp() * logprobs.clamp(min=IMPOSSIBLE)).sum(-1)


def _variance(logprobs: Tensor) -> Tensor:
    probs, logprobs = logprobs.exp(), logprobs.clamp(min=IMPOSSIBLE)
    mean = (probs * logprobs).sum(-1, keepdim=True)
    return (probs * (logprobs - mean).square()).sum(-1)


def runner_up(logprobs: Tensor, target: Tensor) -> Tensor:
    """Log-prob of the most likely token other than the one that came."""
    return logprobs.scatter(-1, target[:, None], -torch.inf).amax(-1)


def top_k(logprobs: Tensor, target: Tensor) -> Tensor:
    """Log of the mass that the `TOP_K` most likely tokens have together."""
    return logprobs.topk(min(TOP_K, logprobs.shape[-1]), dim=-1).values.logsumexp(-1)


KINDS: Mapping[str, Statistic] = {"entropy": entropy, "variance": variance, "runner_up": runner_up, "top_k": top_k}


def statistic(kind: str | Statistic) -> Statistic:
    """The statistic of a name, or one's own as it is. Raises UnknownName for a name that is none."""
    if not isinstance(kind, str):
        return kind
    if kind not in KINDS:
        raise UnknownName("token statistic", name=kind, known=KINDS)
    return KINDS[kind]
