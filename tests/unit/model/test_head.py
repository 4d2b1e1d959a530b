"""The largest logit and the log-probs of targets, against torch's own functions, at the edges of every block."""

from __future__ import annotations

import pytest
import torch

from mmforget.model.head import BEST_BLOCK, _target_scores, best_of

SIZES = (7, 4 * BEST_BLOCK, 4 * BEST_BLOCK + 1, 5 * BEST_BLOCK - 1, 3000)


def logits_of(size: int, *, ties: bool) -> torch.Tensor:
    """Forty rows: random ones, one of equal numbers, and rows whose largest is the first or the last, or no number."""
    logits = 2 * torch.randn(40, size, generator=torch.Generator().manual_seed(size))
    logits = logits.round() if ties else logits
    logits[0], logits[1, 0], logits[2, -1] = 0.0, 50.0, 50.0
    logits[3, size // 2], logits[4], logits[5, 1] = torch.inf, -torch.inf, torch.nan
    return logits


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_the_largest_is_that_of_max_and_the_first_of_several(size: int, ties: bool) -> None:
    logits = logits_of(size, ties=ties)
    largest, place = best_of(logits)
    wanted = logits.max(-1)
    torch.testing.assert_close(largest, wanted.values, equal_nan=True, rtol=0, atol=0)
    assert place.tolist() == wanted.indices.tolist()


@pytest.mark.parametrize("differentiable", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_scores_of_targets_are_those_of_log_softmax(size: int, differentiable: bool) -> None:
    """Two targets of every row: its first token and its most likely one."""
    logits = logits_of(size, ties=True)
    rows, best = torch.arange(len(logits)), logits.argmax(-1)
    scored_by, target = torch.cat([rows, rows]), torch.cat([torch.zeros_like(best), best])
    wanted = logits[scored_by, target] - logits.logsumexp(-1)[scored_by]
    found, is_best = _target_scores(logits.clone().requires_grad_(differentiable), scored_by=scored_by, target=target)
    torch.testing.assert_close(found.detach(), wanted, equal_nan=True, rtol=0, atol=5e-6)
    assert is_best.tolist() == ((target == 0) & (best[scored_by] == 0) | (torch.arange(80) >= 40)).tolist()
