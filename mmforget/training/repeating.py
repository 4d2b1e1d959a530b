"""An update that a method's wrapper computes as often as it wants, of which the first time counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmforget.methods.base import Part, Request
from mmforget.methods.computing import Scoped

WRAPPED = "wrapped."
"""What the names of a wrapper's own state begin with, among those of the method."""


class Portion(NamedTuple):
    """What of one micro-batch is differentiated.

    Attributes:
        part: None: all of it.
        known: by request, what the others came to in this update, constant; it is filled where something lacks.
    """

    part: Part | None
    known: dict[Request, Any]


Once = Callable[[Sequence[Portion]], Tensor]
"""Computes every micro-batch of an update, each in its portion, and returns the loss; always with the same draws."""


class Repeating:
    """`methods.computing.Compute` of one update.

    Args:
        whole: the method's state, in which each call finds what the first one found.
    """

    def __init__(
        self, once: Once, *, num_batches: int, whole: MutableMapping[str, Tensor], numbers: tuple[int, int, int]
    ) -> None:
        self.update, self.num_updates, self.seed = numbers
        self._once, self._whole = once, whole
        self._known: list[dict[Request, Any]] = [{} for _ in range(num_batches)]
        self._before = _copied(whole)
        self._after: dict[str, Tensor] | None = None

    @property
    def state(self) -> MutableMapping[str, Tensor]:
        return Scoped(self._whole, WRAPPED)

    def __call__(self, part: Part | None = None) -> Tensor:
        if self._after is not None:
            _put(self._whole, self._before)
        loss = self._once([Portion(part, known) for known in self._known])
        if self._after is None:
            self._after = _copied(self._whole)
        _put(self._whole, self._after)
        return loss


def constant(value: Any) -> Any:
    """What a request came to, without gradients: a tensor, or several by name."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(constant, value))
    return value


def parted(
    asked: Sequence[Request],
    portion: Portion,
    *,
    kept: frozenset[str],
    answer: Callable[[Sequence[Request]], Mapping[Request, Any]],
) -> dict[Request, Any]:
    """What requests come to, differentiable as far as the portion goes.

    Args:
        kept: sources of rows to keep.
        answer: what some of the requests come to in the model as it is.
    """
    wanted = [one for one in asked if (one.source in kept) == (portion.part == "keep")]
    others = [one for one in asked if one not in wanted]
    # First, so that it draws the same whether the others are known or not.
    found = answer(wanted) if wanted else {}
    if missing := [one for one in others if one not in portion.known]:
        with torch.no_grad():
            _remember(portion, answer(missing))
    _remember(portion, found)
    return {**{one: value for one, value in portion.known.items() if one not in found}, **found}


def _remember(portion: Portion, found: Mapping[Request, Any]) -> None:
    """What is known first stays."""
    for request, value in found.items():
        portion.known.setdefault(request, constant(value))


def _copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: one.clone() for name, one in state.items() if not name.startswith(WRAPPED)}


def _put(state: MutableMapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Makes the method's own state these values, and leaves its wrappers' as it is."""
    for name in [name for name in state if not name.startswith(WRAPPED) and name not in values]:
        del state[name]
    state.update({name: one.clone() for name, one in values.items()})
