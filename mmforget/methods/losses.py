"""The arithmetic of unlearning: pure functions of tensors, no model, mask and reduction in every name.

B answers, T tokens (padded). Log-probs are natural logarithms, float32, and must be 0 where the mask is
False. Every mask is bool and marks the tokens that count.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mmforget.types import Scored


def token_mean_nll(scored: Scored) -> Tensor:
    """Negative log-likelihood, averaged over all masked tokens of the batch together, in nats.

    Long answers weigh more than short ones, as in a Hugging Face forward with labels.

    Returns: scalar >= 0; 0 where nothing is masked.
    """
    return -token_mean(scored.token_logprobs, scored.mask)


def token_sum_nll(scored: Scored) -> Tensor:
    """Negative log-likelihood of all masked tokens of the batch together, in nats: scalar >= 0."""
    return -_masked_sum(scored.token_logprobs, scored.mask)


def sequence_sum_logprob(token_logprobs: Tensor, mask: Tensor) -> Tensor:
    """Log-probability of every answer: the sum over its masked tokens. float32 [B, T] -> float32 [B], <= 0."""
    return torch.where(mask, token_logprobs, token_logprobs.new_zeros(())).sum(dim=-1)


def sequence_mean_logprob(token_logprobs: Tensor, mask: Tensor) -> Tensor:
    """Log-probability of every answer divided by its number of masked tokens. float32 [B, T] -> float32 [B], <= 0."""
    return sequence_sum_logprob(token_logprobs, mask) / mask.sum(dim=-1).clamp(min=1)


def answer_probability(scored: Scored) -> Tensor:
    """Probability of every whole answer, exp of the sum over its masked tokens: float32 [B], in [0, 1]."""
    return sequence_sum_logprob(scored.token_logprobs, scored.mask).exp()


def token_probability(scored: Scored) -> Tensor:
    """Probability of a token, averaged over the masked tokens of every answer: float32 [B], in [0, 1]."""
    summed = torch.where(scored.mask, scored.token_logprobs.exp(), scored.token_logprobs.new_zeros(())).sum(dim=-1)
    return summed / scored.mask.sum(dim=-1).clamp(min=1)


def npo(logprob: Tensor, *, reference: Tensor, beta: float) -> Tensor:
    """Negative preference optimisation of each answer: -(2 / beta) log sigmoid(-beta (logprob - reference)).

    Bounded below by 0, equal to (2 / beta) log 2 at the reference, where its gradient is that of gradient ascent.
    Source: Zhang et al. 2024, https://arxiv.org/abs/2404.05868, equation 3, whose loss is the mean over answers.

    Args:
        logprob: float32 [B], log-probability of each answer, summed or averaged over its tokens.
        reference: float32 [B], the same under the model before training; constant.
        beta: inverse temperature > 0; towards 0 the loss becomes gradient ascent.

    Returns: float32 [B].
    """
    return -(2.0 / beta) * functional.logsigmoid(-beta * (logprob - reference))


def dpo(preferred: Tensor, *, rejected: Tensor, beta: float) -> Tensor:
    """Direct preference optimisation of each pair of answers: -log sigmoid(beta (preferred - rejected)).

    Bounded below by 0, equal to log 2 at the reference.
    Source: Rafailov et al. 2023, https://arxiv.org/abs/2305.18290, equation 7, whose loss is the mean over pairs.

    Args:
        preferred: float32 [B], log-probability of the better answer less that under the model before training.
        rejected: float32 [B], the same of the worse one.
        beta: inverse temperature > 0.

    Returns: float32 [B].
    """
    return -functional.logsigmoid(beta * (preferred - rejected))


def simnpo(logprob: Tensor, *, beta: float, delta: float) -> Tensor:
    """NPO without a reference, of each answer: -(2 / beta) log sigmoid(-beta (logprob + delta)).

    Source: Fan et al. 2024, https://arxiv.org/abs/2410.07163, whose loss is the mean over answers.

    Args:
        logprob: float32 [B], log-probability of each answer, averaged over its tokens.
        beta: inverse temperature > 0.
        delta: margin in nats a token; the published gamma is beta times it.

    Returns: float32 [B], >= 0.
    """
    return -(2.0 / beta) * functional.logsigmoid(-beta * (logprob + delta))


def token_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average over all masked tokens of the batch together.

    Args:
        values: float32 [B, T], e.g. a divergence of each token's distribution.
        mask: bool [B, T].

    Returns: scalar; 0 where nothing is masked.
    """
    return _masked_sum(values, mask) / mask.sum().clamp(min=1)


def weighted_logprob(scored: Scored, *, weight: Tensor) -> Tensor:
    """Log-prob times a weight, averaged over all masked tokens of the batch together, in nats: scalar.

    Args:
        weight: float32 [B, T], >= 0; no gradient flows through it.
    """
    return token_mean(weight.detach() * scored.token_logprobs, scored.mask)


def inverted_hinge(token_logprobs: Tensor, *, runner_up: Tensor) -> Tensor:
    """max(0, 1 + p - q) of each token, p its probability and q that of the most likely other one, in [0, 2].

    Source: Cha et al. 2024, https://arxiv.org/abs/2408.06621.

    Args:
        token_logprobs: float32 [B, T], log of p.
        runner_up: float32 [B, T], log of q.

    Returns: float32 [B, T].
    """
    return (1 + token_logprobs.exp() - runner_up.exp()).clamp(min=0)


def but_first(mask: Tensor, num: int) -> Tensor:
    """A mask bool [B, T] without the first `num` masked tokens of each answer."""
    return mask & (mask.cumsum(-1) > num)


def are_states(states: Tensor) -> Tensor:
    """Which of padded hidden states [..., H] are of a token: bool [...], True where one is not 0 throughout."""
    return states.detach().ne(0).any(dim=-1)


def state_distance(states: Tensor, *, target: Tensor, mask: Tensor) -> Tensor:
    """Squared difference of hidden states, averaged over dimensions, then the tokens of each answer, then answers.

    Args:
        states: float32 [B, T, H].
        target: float32 [H] or [B, T, H].
        mask: bool [B, T].

    Returns: scalar >= 0.
    """
    each = (states - target).square().mean(dim=-1)
    by_answer = torch.where(mask, each, each.new_zeros(())).sum(dim=-1) / mask.sum(dim=-1).clamp(min=1)
    return by_answer.mean()


def at_answers(values: Tensor, mask: Tensor, *, last_only: bool) -> Tensor:
    """Average over L layers, and over all masked tokens of the batch together or the last one of each answer.

    Args:
        values: float32 [L, B, T].
        mask: bool [B, T].

    Returns: scalar; 0 where nothing is masked.
    """
    if last_only:
        # Of every answer, the masked token behind which none is left.
        mask = mask & (mask.flip(-1).cumsum(-1).flip(-1) == 1)
    return token_mean(values.mean(dim=0), mask)


def _masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, values, values.new_zeros(())).sum()
