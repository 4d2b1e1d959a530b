"""Which settings of a method are worth trying, and every combination of them. Imports no torch.

A method says so by `grid`, a class variable: values by the name of an argument of its own or of a training setting,

    grid: ClassVar[Grid] = {**USUAL, "beta": (0.05, 0.1, 0.5), "retain_weight": Times((0.5, 2.0))}

where `Times` are multiples of what the recipe has, so that one grid suits a model of a million weights and one of
seven thousand million, and `updates` is the training's length, whether a recipe counts it in updates or in epochs.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

V = TypeVar("V")

UPDATES = "updates"


@dataclass(frozen=True)
class Times:
    """Multiples of the value that the recipe has; a whole number stays one, and at least 1."""

    factors: tuple[float, ...]

    def of(self, value: Any) -> tuple[Any, ...]:
        """The multiples of a number, rounded to six digits; none of anything else, or of 0."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not value:
            return ()
        if isinstance(value, int):
            return tuple(max(1, round(value * factor)) for factor in self.factors)
        return tuple(float(f"{value * factor:.6g}") for factor in self.factors)


Grid = Mapping[str, tuple[Any, ...] | Times]

USUAL: Grid = {"lr": Times((0.5, 2.0)), UPDATES: Times((0.5, 2.0))}
"""What is tried of a trained method that has no grid of its own."""


def points(axes: Mapping[str, Sequence[V]]) -> list[dict[str, V]]:
    """Every combination of one value of each axis, the first of all first, the last axis running fastest."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def drawn(candidates: Sequence[Mapping[str, Any]], *, num: int, seed: int, name: str) -> list[Mapping[str, Any]]:
    """The first of the candidates and `num - 1` others, fewer where there are no more.

    The others stand in an order that the seed, the name and each one's own values decide, so that a larger number
    brings all that a smaller one did.
    """
    first, *rest = candidates

    def draw(one: Mapping[str, Any]) -> str:
        text = json.dumps([seed, name, one], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    return [first, *sorted(rest, key=draw)[: num - 1]]
