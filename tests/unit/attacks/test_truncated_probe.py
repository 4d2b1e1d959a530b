"""A probe by hand and by plain gradient descent, and what it finds where the answer is held back behind its layer."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from mmforget.attacks.base import build_attack
from mmforget.attacks.truncated_probe import TruncatedProbe
from mmforget.errors import UserError

NUM, WIDTH, TOKENS = 40, 6, 9


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_it_is_the_head_trained_by_gradient_descent() -> None:
    head, states = drawn(0, TOKENS, WIDTH), drawn(1, NUM, WIDTH)
    tokens = torch.arange(NUM) % TOKENS
    probe = TruncatedProbe(steps=20).teach(states, states @ head.T, tokens)
    trained = head.clone().double().requires_grad_()
    rate = 2.0 / float(torch.linalg.eigvalsh(states.T.double() @ states.double())[-1] / NUM)
    optimiser = torch.optim.SGD([trained], lr=rate)
    for _ in range(20):
        optimiser.zero_grad()
        functional.cross_entropy(states.double() @ trained.T, tokens).backward()
        optimiser.step()
    asked = drawn(2, 5, WIDTH)
    expected = asked.double() @ trained.detach().T
    assert (asked @ head.T + probe(asked)).double().numpy() == pytest.approx(expected.numpy(), abs=1e-4)


def test_what_a_layer_writes_with_other_axes_is_found_and_what_it_never_held_is_not() -> None:
    """Rows to keep teach which axes stand for which tokens; the head itself reads others."""
    axes, head = torch.linalg.qr(drawn(3, TOKENS, TOKENS))[0], torch.eye(TOKENS) * 3.0
    tokens = torch.arange(90) % TOKENS
    states = axes[tokens] * 3.0 + 0.1 * drawn(4, 90, TOKENS)
    probe = TruncatedProbe(steps=200).teach(states, states @ head.T, tokens)
    knows, never = axes[5] * 3.0, axes[2] * 3.0
    said = torch.stack([one @ head.T + probe(one[None])[0] for one in (knows, never)])
    assert TruncatedProbe().ranks(said, 5) == (0, TruncatedProbe().ranks(said[1:], 5)[0])
    assert TruncatedProbe().ranks(said[1:], 5)[0] > 0
    assert TruncatedProbe().ranks((knows @ head.T)[None], 5)[0] > 0


def test_layers_and_numbers_that_cannot_be_are_said() -> None:
    assert [depth.layer + 1 for depth in TruncatedProbe().depths(32)] == [8, 16, 24, 32]
    assert [depth.layer + 1 for depth in TruncatedProbe().depths(2)] == [1, 2]
    with pytest.raises(UserError, match="attack 'truncated_probe': layer 9 is asked about, and the model has 1 to 4"):
        TruncatedProbe(layers=(9,)).depths(4)
    with pytest.raises(UserError, match="attack 'truncated_probe': steps"):
        build_attack("truncated_probe", "steps=0")
