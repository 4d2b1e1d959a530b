"""Gradients as vectors over all weights that train: taken, put back, measured, and weights moved along them.

Weights may be divided among processes; norms are those of the whole vector in every process.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from mmforget import parallel
from mmforget.errors import UserError

Vector = Mapping[str, Tensor]
"""By name of a weight; a weight that is left out has none."""
LOST = 0.5
"""Weights in few bits that moved less than this share of what they should have not moved."""


def taken(weights: Vector) -> dict[str, Tensor]:
    """The gradients of the weights, which have none afterwards."""
    found = {}
    for name, weight in weights.items():
        if weight.grad is not None:
            found[name] = weight.grad
            weight.grad = None
    return found


def added(weights: Vector, gradients: Vector, *, times: float = 1.0) -> None:
    """Adds gradients to those of the weights."""
    for name, gradient in gradients.items():
        weight, more = weights[name], gradient if times == 1.0 else gradient * times
        weight.grad = more if weight.grad is None else weight.grad + more


def summed(weights: Vector) -> dict[str, Tensor]:
    """The gradients of the weights over all processes, which have none afterwards; `taken` is this process's share."""
    if not parallel.is_sharded():
        parallel.sum_gradients(weights.values())
    return taken(weights)


def difference(one: Vector, other: Vector) -> dict[str, Tensor]:
    """`one` less `other`, where both or either have a gradient."""
    found = dict(one)
    for name, value in other.items():
        found[name] = found[name] - value if name in found else -value
    return found


def norm(vector: Vector) -> float:
    """The Euclidean norm of all of it together."""
    if not vector:
        return 0.0
    found: Any = get_total_norm(vector.values())
    return float(found.full_tensor() if hasattr(found, "full_tensor") else found)


@contextmanager
def moved(weights: Vector, along: Vector, *, by: float) -> Iterator[None]:
    """Inside, the weights lie `by` times the vector further; afterwards they are what they were, bit by bit.

    Raises UserError where weights in few bits would not move.
    """
    before = {name: weights[name].detach().clone() for name in along}
    try:
        with torch.no_grad():
            for name, direction in along.items():
                weights[name].add_(direction.to(weights[name].dtype), alpha=by)
        _require_moved(weights, before, along=along, by=by)
        yield
    finally:
        with torch.no_grad():
            for name, old in before.items():
                weights[name].copy_(old)


def _require_moved(weights: Vector, before: Vector, *, along: Vector, by: float) -> None:
    coarse = next(
        (one.dtype for one in before.values() if torch.finfo(one.dtype).eps > torch.finfo(torch.float32).eps), None
    )
    wanted = 0.0 if coarse is None else abs(by) * norm(along)
    if not wanted or math.isinf(wanted):
        return
    went = norm({name: weights[name].detach().float() - old.float() for name, old in before.items()})
    if went < LOST * wanted:
        raise UserError(
            f"a step of length {wanted:g} is lost in the rounding of {str(coarse).removeprefix('torch.')} weights; "
            "train with LoRA, load the model in float32 (dtype=float32), or take a longer step"
        )
