"""Sharpness-aware unlearning: what is forgotten stays so in the neighbourhood of the weights; joins with any loss.

Source: Fan et al. 2025, "Towards LLM Unlearning Resilient to Relearning Attacks: A Sharpness-Aware Minimization
Perspective and Beyond", https://arxiv.org/abs/2502.05374, and its code, for `npo+sam` and `grad_diff+sam`: a rho of
0.01 (of the paper on WMDP 0.1), three draws, averages of every fifth update from update 100 of 125 on. In that code
both penalties are plain numbers by the time that they are added, so that they change nothing: `gradient_norm` and
`curvature` are reconstructions as penalties that are some, with weights that are ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods.arguments import require_not_negative, require_positive
from mmforget.methods.base import Compute, Evidence, Grid
from mmforget.methods.gradients import Vector, added, difference, moved, norm, summed, taken

NUM_DRAWS = 3
FROM, EVERY = 0.8, 5
"""Which updates are averaged: from this share of those planned on, and of these one in so many."""
FIRST, NUM, MEAN = "first_averaged", "num_averaged", "mean."


@dataclass(frozen=True)
class SharpnessAware:
    """Takes the gradient through the rows to forget elsewhere than at the weights; that through rows to keep stays.

    L is the loss as it depends on the rows to forget, g its gradient over a whole update and all weights that train.

    `sam`: the gradient of L at the weights + rho g / |g|. `smoothing`: its mean over three draws of weights + noise,
    normal with standard deviation rho. `gradient_norm`: that of L + penalty_weight |g|. `curvature`: that of
    L + penalty_weight |g' - g|, g' the gradient at the weights + step g / |g|, a shift that is held constant. Products
    with the Hessian are central differences of gradients over `step`. `averaging`: training is left alone, and in the
    end weights are the mean of those after every fifth update of the last fifth of the training.

    With a rho of 0 (`sam`, `smoothing`) or a penalty_weight of 0 it trains as the method alone, bit for bit.
    """

    kind: Literal["sam", "smoothing", "gradient_norm", "curvature", "averaging"] = "sam"
    rho: float = 0.01
    penalty_weight: float = 0.01
    step: float = 0.01

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2502.05374"
    grid: ClassVar[Grid] = {"rho": (0.001, 0.01, 0.05, 0.1)}

    def __post_init__(self) -> None:
        require_not_negative(rho=self.rho, penalty_weight=self.penalty_weight)
        require_positive(step=self.step)

    def gradients(self, compute: Compute, *, weights: Mapping[str, Tensor]) -> Tensor:
        """See `methods.base.Wrapper`."""
        if self.kind == "averaging":
            _require_whole(weights)
            compute.state[FIRST] = torch.tensor(float(math.ceil(FROM * compute.num_updates)))
            self._count(weights, state=compute.state, update=compute.update)
            return compute()
        if not (self.rho if self.kind in ("sam", "smoothing") else self.penalty_weight):
            return compute()
        loss = compute("keep")
        kept = taken(weights)
        kinds: dict[str, Callable[..., dict[str, Tensor]]] = {
            "sam": self._sharp, "smoothing": self._smooth, "gradient_norm": self._small, "curvature": self._flat,
        }  # fmt: skip
        forget = kinds[self.kind](compute, weights)
        added(weights, kept)
        added(weights, forget)
        return loss

    @property
    def finish(self) -> Callable[..., None] | None:
        """Puts the averages in the place of the weights."""
        return self._finish if self.kind == "averaging" else None

    def _sharp(self, compute: Compute, weights: Vector) -> dict[str, Tensor]:
        compute("forget")
        gradient = summed(weights)
        return _at(compute, weights, along=gradient, by=_over(self.rho, norm(gradient)))

    def _smooth(self, compute: Compute, weights: Vector) -> dict[str, Tensor]:
        for draw in range(NUM_DRAWS):
            noise = _noise(weights, seed=compute.seed + draw)
            with moved(weights, noise, by=self.rho):
                compute("forget")
        return {name: one / NUM_DRAWS for name, one in taken(weights).items()}

    def _small(self, compute: Compute, weights: Vector) -> dict[str, Tensor]:
        compute("forget")
        own = {name: one.clone() for name, one in _grads(weights).items()}
        whole = summed(weights)
        bend = self._bend(compute, weights, along=whole, at=None)
        return _sum(own, bend, times=self.penalty_weight)

    def _flat(self, compute: Compute, weights: Vector) -> dict[str, Tensor]:
        compute("forget")
        own = {name: one.clone() for name, one in _grads(weights).items()}
        here = summed(weights)
        shift = {name: one * _over(self.step, norm(here)) for name, one in here.items()}
        with moved(weights, shift, by=1.0):
            compute("forget")
        away = difference(summed(weights), here)
        bend = difference(
            self._bend(compute, weights, along=away, at=shift), self._bend(compute, weights, along=away, at=None)
        )
        return _sum(own, bend, times=self.penalty_weight)

    def _bend(self, compute: Compute, weights: Vector, *, along: Vector, at: Vector | None) -> dict[str, Tensor]:
        """This process's share of H u, u the unit vector along another, at the weights or shifted ones."""
        by, ends = _over(self.step, norm(along)), list[dict[str, Tensor]]()
        for sign in (1.0, -1.0):
            place = {name: sign * by * one for name, one in along.items()}
            ends.append(_at(compute, weights, along=place if at is None else _sum(at, place), by=1.0))
        return {name: one / (2 * self.step) for name, one in difference(*ends).items()}

    def _count(self, weights: Vector, *, state: MutableMapping[str, Tensor], update: int) -> None:
        """Counts the weights after so many updates in, where it is their turn."""
        first = max(1, int(state[FIRST].item()))
        if update < first or (update - first) % EVERY:
            return
        num = int(state[NUM].item()) if NUM in state else 0
        for name, weight in weights.items():
            new, old = weight.detach().float(), state.get(f"{MEAN}{name}")
            # So that the mean of what never moves, as where a mask holds it, is that bit by bit.
            state[f"{MEAN}{name}"] = new.clone() if old is None else old + (new - old) / (num + 1)
        state[NUM] = torch.tensor(float(num + 1))

    def _finish(self, weights: Vector, *, state: MutableMapping[str, Tensor], update: int) -> None:
        if FIRST not in state:
            return
        self._count(weights, state=state, update=update)
        with torch.no_grad():
            for name, weight in weights.items():
                if f"{MEAN}{name}" in state:
                    weight.copy_(state[f"{MEAN}{name}"])


def _require_whole(weights: Vector) -> None:
    if any(hasattr(weight, "full_tensor") for weight in weights.values()):
        raise UserError(
            "sam with kind=averaging keeps whole weights, and these are divided among processes; train with whole "
            "models (configs/ddp.yaml)"
        )


def _over(length: float, size: float) -> float:
    """What a vector of this size is multiplied by to have that length; 0 where there is none."""
    return length / size if size > 0 else 0.0


def _at(compute: Compute, weights: Vector, *, along: Vector, by: float) -> dict[str, Tensor]:
    """This process's share of the gradient of L at other weights."""
    with moved(weights, along, by=by):
        compute("forget")
    return taken(weights)


def _grads(weights: Vector) -> dict[str, Tensor]:
    return {name: weight.grad for name, weight in weights.items() if weight.grad is not None}


def _sum(one: Vector, other: Vector, *, times: float = 1.0) -> dict[str, Tensor]:
    found = dict(one)
    for name, value in other.items():
        found[name] = found[name] + times * value if name in found else times * value
    return found


def _noise(weights: Vector, *, seed: int) -> dict[str, Tensor]:
    """Standard normal, the same in all processes and on every device."""
    generator, found = torch.Generator().manual_seed(seed), dict[str, Tensor]()
    for name, weight in weights.items():
        drawn = torch.randn(weight.shape, generator=generator).to(weight.device)
        found[name] = _as_divided(drawn, like=weight)
    return found


def _as_divided(whole: Tensor, *, like: Any) -> Tensor:
    if not hasattr(like, "full_tensor"):
        return whole
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(whole, like.device_mesh, like.placements)


METHOD = SharpnessAware
