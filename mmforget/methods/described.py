"""What a method says about itself, for lists: its shape, what it asks for and what that costs, its source. No model.

A step's cost is counted in steps of gradient ascent (`ga`), which sends each row to forget through the model forwards
and backwards. As many rows of every other source count as much, and a pass that leaves no gradient, as that through the
model before training, a third.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, Literal, NamedTuple

from mmforget.methods.base import is_wrapper
from mmforget.methods.requests import Hidden, Influence, Reference, Request, looks_back

Shape = Literal["loss", "wrapper", "edit", "guard"]
FORWARD_ALONE = 1 / 3
"""A pass without gradients beside one with them: of three products of matrices the first."""


class Described(NamedTuple):
    """A method as its list shows it.

    Attributes:
        requests: what a loss asks for, in words.
        cost: of a step, in steps of `ga`; None for what trains nothing, and for a wrapper, whose cost is its partner's.
        paper: where it comes from, "" where it does not say.
        evidence: how near it is to that, see `methods.base.Evidence`; "" where it does not say.
        arguments: with their defaults.
    """

    shape: Shape
    requests: tuple[str, ...]
    cost: float | None
    paper: str
    evidence: str
    arguments: Mapping[str, Any]


def described(kind: type[Any]) -> Described:
    """What is known of a method's class; of its requests those that its defaults make.

    A method that cannot be made without arguments is described without them.
    """
    given = {field.name: field.default for field in fields(kind) if field.default is not MISSING}
    requests = _requests(kind)
    return Described(
        shape=shape_of(kind),
        requests=tuple(in_words(request) for request in requests),
        cost=round(cost_of(requests) * _share(kind), 2) if requests else None,
        paper=str(getattr(kind, "paper", "")),
        evidence=str(getattr(kind, "evidence", "")),
        arguments=given,
    )


def shape_of(method: Any) -> Shape:
    """What a method, or its class, does to a model."""
    if is_wrapper(method):
        return "wrapper"
    if hasattr(method, "guard"):
        return "guard"
    return "edit" if hasattr(method, "edit") else "loss"


def cost_of(requests: Sequence[Request]) -> float:
    """What a step costs that asks for this and nothing else, in steps of `ga`."""
    trained = {one.source for one in requests if not is_constant(one)}
    before = {one.source for one in requests if looks_back(one)}
    return len(trained) + FORWARD_ALONE * len(before)


def _share(kind: type[Any]) -> float:
    """Of a model's layers those that a step computes, where a method asks for the first ones alone."""
    wanted = kind().first_layers if hasattr(kind, "first_layers") else 1.0
    return wanted if isinstance(wanted, float) else 1.0


def in_words(request: Request) -> str:
    """A request as it is written, without what is as usual: `Scores(forget)`, `Hidden(retain, before)`."""
    said = [str(request.source)]
    said += [flag for flag in ("before", "compared") if getattr(request, flag, False) is True]
    if isinstance(request, Reference) and request.of != "before":
        said.append(request.of)
    if getattr(request, "positions", "answer") != "answer":
        said.append(f"{request.positions} positions")  # type: ignore[union-attr]
    return f"{type(request).__name__}({', '.join(said)})"


def _requests(kind: type[Any]) -> tuple[Request, ...]:
    if not hasattr(kind, "requests") or any(
        f.default is MISSING and f.default_factory is MISSING for f in fields(kind)
    ):
        return ()
    found: tuple[Request, ...] = kind().requests
    return found


def is_constant(request: Request) -> bool:
    """Whether no gradient goes through it; what another model says is computed once for all and kept."""
    return isinstance(request, Reference | Influence) or (isinstance(request, Hidden) and request.before)
