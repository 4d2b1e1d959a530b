"""Numbers of a token's distribution that methods and metrics ask for by name.

Each takes log-probs float32 [n, V] and the tokens that came, int64 [n], and gives float32 [n], differentiable.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mmforget.errors import UnknownName
from mmforget.model.head import Statistic

TOP_K = 10


def entropy(logprobs: Tensor, target: Tensor) -> Tensor:
    """Shannon entropy in nats."""
    found: Tensor = torch.special.entr(logprobs.exp()).sum(-1)
    return found


def variance(logprobs: Tensor, target: Tensor) -> Tensor:
    """Variance of the log-prob of a token drawn from the distribution, in nats squared, at least 0."""
    probs = logprobs.exp()
    mean = -entropy(logprobs, target)
    centred = torch.where(probs > 0, logprobs - mean[:, None], 0.0)  # what is impossible has no part
    return (probs * centred.square()).sum(-1)


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
