"""Each way of `sam` against gradients worked by hand, and against double backpropagation in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods.base import Part
from mmforget.methods.build import build
from mmforget.methods.computing import Within
from mmforget.methods.sam import SharpnessAware


@dataclass
class Toy:
    """Computes gradients of two functions of the weights, without any rows."""

    weights: Mapping[str, Tensor]
    forget: Callable[..., Tensor]
    keep: Callable[..., Tensor]
    update: int = 0
    num_updates: int = 10
    seed: int = 7
    state: dict[str, Tensor] = field(default_factory=dict)
    calls: list[Part | None] = field(default_factory=list)

    def __call__(self, part: Part | None = None) -> Tensor:
        self.calls.append(part)
        terms = {"forget": self.forget(**self.weights), "keep": self.keep(**self.weights)}
        sum(one for name, one in terms.items() if part in (None, name)).backward()  # type: ignore[union-attr]
        return sum(terms.values()).detach()  # type: ignore[union-attr]


def toy(**more: Any) -> Toy:
    """f = (w1^2 + 4 w2^2) / 2 at (3, 1): g = (3, 4), |g| = 5. k = 10 w1."""
    weights = {"w": torch.tensor([3.0, 1.0], dtype=torch.float64, requires_grad=True)}
    half = torch.tensor([0.5, 2.0], dtype=torch.float64)
    return Toy(weights, lambda w: (half * w * w).sum(), lambda w: 10 * w[0], **more)


def gradient(found: Toy, args: str) -> list[float]:
    method = build("npo+sam", args)
    before = found.weights["w"].detach().clone()
    method.gradients(found, weights=found.weights)
    assert torch.equal(found.weights["w"], before)
    assert found.weights["w"].grad is not None
    values: list[float] = found.weights["w"].grad.tolist()
    return values


def test_the_gradient_to_forget_is_taken_a_step_of_rho_away() -> None:
    """rho 0.5: at (3.3, 1.4) it is (3.3, 5.6); that of what is kept, (10, 0), is added as it is."""
    found = toy()
    assert gradient(found, "rho=0.5") == pytest.approx([13.3, 5.6])
    assert found.calls == ["keep", "forget", "forget"]


def test_the_norm_is_penalised() -> None:
    """g + 0.1 H g / |g| = (3, 4) + 0.1 (1 x 0.6, 4 x 0.8)."""
    assert gradient(toy(), "kind=gradient_norm,penalty_weight=0.1") == pytest.approx([13.06, 4.32])


def test_noise_of_mean_zero_changes_a_linear_gradient_by_its_mean() -> None:
    """g is linear in w, so the mean over three draws is g at the mean draw."""
    noise = [torch.randn(2, generator=torch.Generator().manual_seed(7 + draw)).double() for draw in range(3)]
    shift = 0.2 * sum(noise) / 3  # type: ignore[operator]
    expected = [10 + 3 + float(shift[0]), 4 + 4 * float(shift[1])]
    assert gradient(toy(), "kind=smoothing,rho=0.2") == pytest.approx(expected)


@pytest.mark.parametrize("args", ["rho=0", "kind=smoothing,rho=0", "kind=gradient_norm,penalty_weight=0"])
def test_nothing_to_add_leaves_the_method_alone(args: str) -> None:
    found = toy()
    assert gradient(found, args) == [13.0, 4.0]
    assert found.calls == [None]


def rough(w: Tensor) -> Tensor:
    """Neither quadratic nor symmetric."""
    return torch.sin(w[0] * w[1]) + w[0] ** 4 / 3 + torch.exp(w[1] - w[2]) + w[2] ** 3


@pytest.mark.parametrize("kind", ["gradient_norm", "curvature"])
def test_penalties_are_those_of_double_backpropagation(kind: str) -> None:
    w = torch.tensor([0.4, -0.7, 0.9], dtype=torch.float64, requires_grad=True)
    found = Toy({"w": w}, rough, lambda w: 0 * w.sum())
    step = 1e-4
    SharpnessAware(kind, penalty_weight=0.3, step=step).gradients(found, weights={"w": w})  # type: ignore[arg-type]
    again = w.detach().clone().requires_grad_()
    loss = rough(again)
    (g,) = torch.autograd.grad(loss, again, create_graph=True)
    penalised = g
    if kind == "curvature":
        there = again + (step * g / g.norm()).detach()
        penalised = torch.autograd.grad(rough(there), there, create_graph=True)[0] - g
    (expected,) = torch.autograd.grad(loss + 0.3 * penalised.norm(), again)
    assert w.grad is not None
    # A difference of two Hessians over a step of 1e-4 has four digits less.
    torch.testing.assert_close(w.grad, expected, rtol=1e-6 if kind == "gradient_norm" else 1e-4, atol=1e-8)


def test_averages_are_those_of_every_fifth_update_of_the_last_fifth() -> None:
    """Of 30 updates those after 24 and 29; what ends after 12 keeps its weights."""
    method = SharpnessAware("averaging")
    assert method.finish is not None
    for last, expected in ((30, 26.5), (12, 12.0), (24, 24.0)):
        w = torch.tensor([0.0], requires_grad=True)
        found = Toy({"w": w}, lambda w: w.sum(), lambda w: w.sum(), num_updates=30)
        for update in range(last):
            found.update = update
            method.gradients(found, weights={"w": w})
            w.data += 1
        method.finish({"w": w}, state=found.state, update=last)
        assert w.item() == expected


def test_the_average_of_what_stays_is_that_bit_by_bit() -> None:
    """As what a mask holds: three times 0.1 over three is another float."""
    method, before = SharpnessAware("averaging"), torch.linspace(-1, 1, 999)
    w = before.clone().requires_grad_()
    found = Toy({"w": w}, lambda w: w.sum(), lambda w: w.sum(), num_updates=60)
    assert method.finish is not None
    for update in range(60):
        found.update = update
        method.gradients(found, weights={"w": w})
    method.finish({"w": w}, state=found.state, update=60)
    assert torch.equal(w, before)


def test_a_gradient_that_is_nothing_has_no_direction() -> None:
    found = toy()
    found.forget = lambda w: 0 * w.sum()
    assert gradient(found, "rho=0.5") == [10.0, 0.0]


def test_steps_that_rounding_swallows_are_refused() -> None:
    w = torch.ones(4, dtype=torch.bfloat16, requires_grad=True)
    found = Toy({"w": w}, lambda w: w.sum(), lambda w: w.sum())
    with pytest.raises(UserError, match=r"a step of length 0\.001 is lost in the rounding of bfloat16 weights"):
        SharpnessAware(rho=0.001).gradients(found, weights={"w": w})
    assert torch.equal(w, torch.ones(4, dtype=torch.bfloat16))


def test_the_outer_wrapper_computes_parts_as_the_inner_one_wants_them() -> None:
    """A penalty around `sam`: each of its three gradients is one of `sam`, and what is kept is computed once."""
    found = toy()
    inner = Within(SharpnessAware(rho=0.5), found, found.weights, "sam")
    assert isinstance(inner("keep"), Tensor)
    assert found.calls == ["keep"]
    grad = found.weights["w"].grad
    assert grad is not None
    assert grad.tolist() == [10.0, 0.0]
    inner("forget")
    assert grad is not None
    assert found.calls == ["keep", "forget", "forget"]


@pytest.mark.parametrize("args", ["rho=-1", "penalty_weight=-0.1", "step=0", "kind=sharp"])
def test_wrong_values_are_refused(args: str) -> None:
    with pytest.raises(UserError):
        build("npo+sam", args)


def test_it_trains_nothing_alone() -> None:
    assert not hasattr(build("sam"), "loss")
