"""The arithmetic of unlearning: pure functions of tensors, no model, mask and reduction in every name.

B answers, T tokens (padded). Log-probs are natural logarithms, float32, and must be 0 where the mask is
False. Every mask is bool and marks the tokens that count.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def token_mean_nll(token_logprobs: Tensor, mask: Tensor) -> Tensor:
    """Negative log-likelihood, averaged over all masked tokens of the batch together, in nats.

    Long answers weigh more than short ones, as in a Hugging Face forward with labels.

    Args:
        token_logprobs: float32 [B, T].
        mask: bool [B, T].

    Returns: scalar >= 0; 0 where nothing is masked.
    """
    return -token_mean(token_logprobs, mask)


def pooled_token_mean_nll(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Tensor:
    """`token_mean_nll` of two batches as if they were one: the sums are added before the tokens are divided by.

    Args:
        first, second: (token_logprobs [B, T], mask [B, T]); B and T may differ between the two.
    """
    total = _masked_sum(*first) + _masked_sum(*second)
    return -total / (first[1].sum() + second[1].sum()).clamp(min=1)


def sequence_sum_logprob(token_logprobs: Tensor, mask: Tensor) -> Tensor:
    """Log-probability of every answer: the sum over its masked tokens. float32 [B, T] -> float32 [B], <= 0."""
    return torch.where(mask, token_logprobs, token_logprobs.new_zeros(())).sum(dim=-1)


def sequence_mean_logprob(token_logprobs: Tensor, mask: Tensor) -> Tensor:
    """Log-probability of every answer divided by its number of masked tokens. float32 [B, T] -> float32 [B], <= 0."""
    return sequence_sum_logprob(token_logprobs, mask) / mask.sum(dim=-1).clamp(min=1)


def npo_batch_mean(logprob: Tensor, *, reference: Tensor, beta: float) -> Tensor:
    """Negative preference optimisation, averaged over answers: -(2 / beta) log sigmoid(-beta (logprob - reference)).

    Bounded below by 0, equal to (2 / beta) log 2 at the reference, where its gradient is that of gradient ascent.
    Source: Zhang et al. 2024, https://arxiv.org/abs/2404.05868, equation 3.

    Args:
        logprob: float32 [B], log-probability of each answer, summed or averaged over its tokens.
        reference: float32 [B], the same under the model before training; constant.
        beta: inverse temperature > 0; towards 0 the loss becomes gradient ascent.
    """
    return -(2.0 / beta) * functional.logsigmoid(-beta * (logprob - reference)).mean()


def token_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average over all masked tokens of the batch together.

    Args:
        values: float32 [B, T], e.g. a divergence of each token's distribution.
        mask: bool [B, T].

    Returns: scalar; 0 where nothing is masked.
    """
    return _masked_sum(values, mask) / mask.sum().clamp(min=1)


def _masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, values, values.new_zeros(())).sum()
