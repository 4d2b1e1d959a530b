"""Each loss on numbers small enough to work out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from mmforget.methods import losses
from mmforget.types import Scored

LOGPROBS = torch.tensor([[-1.0, -2.0, 0.0], [-3.0, -4.0, -5.0]])
MASK = torch.tensor([[True, True, False], [True, True, True]])


def answers(logprobs: torch.Tensor, mask: torch.Tensor) -> Scored:
    return Scored(logprobs, mask, torch.zeros(len(mask), dtype=torch.bool))


def test_token_mean_nll_pools_the_tokens_of_the_batch() -> None:
    """(1 + 2 + 3 + 4 + 5) / 5 tokens = 3; the mean of the two answers' means would be (1.5 + 4) / 2 = 2.75."""
    assert losses.token_mean_nll(answers(LOGPROBS, MASK)).item() == pytest.approx(3.0)


def test_token_mean_nll_reads_nothing_where_the_mask_is_off() -> None:
    """Padding that holds not-a-number must not reach the loss, nor its gradient."""
    logprobs = torch.tensor([[-1.0, math.nan]], requires_grad=True)
    loss = losses.token_mean_nll(answers(logprobs, torch.tensor([[True, False]])))
    loss.backward()
    assert loss.item() == 1.0
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [[-1.0, 0.0]]


def test_token_mean_nll_of_no_tokens_is_zero() -> None:
    assert losses.token_mean_nll(answers(LOGPROBS, torch.zeros_like(MASK))).item() == 0.0


def test_token_sum_nll_adds_all_tokens_up() -> None:
    """1 + 2 + 3 + 4 + 5."""
    assert losses.token_sum_nll(answers(LOGPROBS, MASK)).item() == pytest.approx(15.0)


def test_sequence_logprobs_sum_or_average_each_answer() -> None:
    """Sums -1-2 and -3-4-5; means -3/2 and -12/3."""
    assert losses.sequence_sum_logprob(LOGPROBS, MASK).tolist() == [-3.0, -12.0]
    assert losses.sequence_mean_logprob(LOGPROBS, MASK).tolist() == [-1.5, -4.0]


def test_npo_at_the_reference_is_two_over_beta_log_two() -> None:
    """logprob = reference gives -(2 / 0.5) log sigmoid(0) = 4 log 2 = 2.7725887."""
    same = torch.tensor([-3.0, -12.0])
    assert losses.npo(same, reference=same, beta=0.5).tolist() == pytest.approx([4 * math.log(2)] * 2)


def test_npo_away_from_the_reference() -> None:
    """beta 0.5, logprob - reference = -2 and +4: (2 / 0.5) log(1 + e^-1) and 4 log(1 + e^2), averaged:
    4 (0.3132617 + 2.1269280) / 2 = 4.8803794.
    """
    loss = losses.npo(torch.tensor([-5.0, -8.0]), reference=torch.tensor([-3.0, -12.0]), beta=0.5).mean()
    assert loss.item() == pytest.approx(4.8803794, abs=1e-6)


@pytest.mark.parametrize("beta", [0.05, 0.1, 2.0])
def test_npo_gradient_at_the_reference_is_that_of_gradient_ascent(beta: float) -> None:
    """The weight 2 p^beta / (p^beta + p_ref^beta) is 1 where p = p_ref, so d loss / d logprob = 1 / B."""
    logprob = torch.tensor([-3.0, -12.0], requires_grad=True)
    losses.npo(logprob, reference=logprob.detach().clone(), beta=beta).mean().backward()
    assert logprob.grad is not None
    assert logprob.grad.tolist() == pytest.approx([0.5, 0.5])


def test_npo_tends_to_gradient_ascent_as_beta_falls() -> None:
    """Away from the reference too: the weight 2 / (1 + e^(-beta d)) tends to 1 as beta tends to 0."""
    logprob = torch.tensor([-5.0, -8.0], requires_grad=True)
    losses.npo(logprob, reference=torch.tensor([-3.0, -12.0]), beta=1e-5).mean().backward()
    assert logprob.grad is not None
    assert logprob.grad.tolist() == pytest.approx([0.5, 0.5], abs=1e-4)


def test_npo_stays_finite_far_from_the_reference() -> None:
    """-(2 / beta) log sigmoid(-beta d): d = 2000, beta = 1 gives 4000; d = -2000 gives 0."""
    far = losses.npo(torch.tensor([0.0]), reference=torch.tensor([-2000.0]), beta=1.0).mean()
    gone = losses.npo(torch.tensor([-2000.0]), reference=torch.tensor([0.0]), beta=1.0).mean()
    assert (far.item(), gone.item()) == (4000.0, 0.0)


def test_token_mean_counts_masked_tokens_of_all_answers_together() -> None:
    """(1 + 2 + 6) / 3 = 3; the 100 is masked out. Nothing masked: 0, not NaN."""
    values = torch.tensor([[1.0, 2.0], [6.0, 100.0]])
    assert losses.token_mean(values, torch.tensor([[True, True], [True, False]])).item() == pytest.approx(3.0)
    assert losses.token_mean(values, torch.zeros(2, 2, dtype=torch.bool)).item() == 0.0
