"""What a method says about itself, for lists: its shape, what it asks for and what that costs, its source. No model.

A step's cost is counted in steps of gradient ascent (`ga`), which sends each row to forget through the model forwards
and backwards. As many rows of every other source count as much, and a pass that leaves no gradient, as that through the
model before training, a third. What a method or a wrapper with `gradients` computes more than once counts as often: it
is asked to leave the gradients of an update that has no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from mmforget.methods.base import is_wrapper, part_with
from mmforget.methods.computing import Part
from mmforget.methods.requests import (
    FORGET,
    Hidden,
    Influence,
    Reference,
    Request,
    Scores,
    kept_sources,
    looks_back,
)

if TYPE_CHECKING:
    from torch import Tensor

Shape = Literal["loss", "wrapper", "edit", "guard"]
FORWARD_ALONE = 1 / 3
"""A pass without gradients beside one with them: of three products of matrices the first."""


class Described(NamedTuple):
    """A method as its list shows it.

    Attributes:
        requests: what a loss asks for, in words.
        cost: of a step, in steps of `ga`, of a wrapper around `ga`; None for what trains nothing.
        paper: where it comes from, "" where it does not say.
        evidence: how near it is to that, see `methods.base.Evidence`; "" where it does not say.
        arguments: with their defaults.
        besides: what it computes beside its steps, in its own words, "" where it says nothing.
    """

    shape: Shape
    requests: tuple[str, ...]
    cost: float | None
    paper: str
    evidence: str
    arguments: Mapping[str, Any]
    besides: str


def described(kind: type[Any]) -> Described:
    """What is known of a method's class; of its requests those that its defaults make.

    A method that cannot be made without arguments is described without them.
    """
    given = {one.name: one.default for one in fields(kind) if one.default is not MISSING}
    made = _made(kind) if hasattr(kind, "requests") or is_wrapper(kind) else None
    requests: tuple[Request, ...] = getattr(made, "requests", ())
    wrapped = (Scores(FORGET),) if made is not None and is_wrapper(kind) else ()
    return Described(
        shape=shape_of(kind),
        requests=tuple(in_words(request) for request in requests),
        cost=round(cost_of(requests or wrapped, method=made) * _share(made), 2) if requests or wrapped else None,
        paper=str(getattr(kind, "paper", "")),
        evidence=str(getattr(kind, "evidence", "")),
        arguments=given,
        besides=str(getattr(kind if made is None else made, "besides", "")),
    )


def shape_of(method: Any) -> Shape:
    """What a method, or its class, does to a model."""
    if is_wrapper(method):
        return "wrapper"
    if hasattr(method, "guard"):
        return "guard"
    return "edit" if hasattr(method, "edit") else "loss"


class Passes(NamedTuple):
    """What one computation of gradients sends through the model.

    Attributes:
        trained: sources whose rows go forwards and backwards.
        forward: sources whose rows go forwards alone, pass by pass.
    """

    trained: frozenset[str]
    forward: tuple[frozenset[str], ...]


def cost_of(requests: Sequence[Request], *, method: Any = None) -> float:
    """What a step costs that asks for this and nothing else, in steps of `ga`.

    Args:
        method: which computes it, a wrapper included; None: one that computes it once.
    """
    passes = list(passes_of(requests, method=method))
    return sum(len(one.trained) + FORWARD_ALONE * sum(map(len, one.forward)) for one in passes)


def passes_of(requests: Sequence[Request], *, method: Any = None) -> Iterator[Passes]:
    """What goes through the model in an update, by the method's requests and by what it does with them.

    What a part does not differentiate is found once, without gradients; a router that is anchored is read in a pass
    through the rows to forget of its own.
    """
    trained = frozenset(one.source for one in requests if not is_constant(one))
    before = frozenset(one.source for one in requests if looks_back(one))
    kept = frozenset(kept_sources(method))
    known: set[Part] = set()
    for part in _parts(method):
        own = trained if part is None else trained & kept if part == "keep" else trained - kept
        other: Part = "forget" if part == "keep" else "keep"
        lacks = trained - own if other not in known else frozenset[str]()
        if part is not None:
            known |= {part, other}
        yield Passes(own, (before & own, lacks, before & lacks))
        if part_with(method, "choose_expert") is not None:
            read = frozenset({FORGET})
            yield Passes(frozenset(), (read,)) if part == "keep" else Passes(read, ())


@dataclass
class _Counted:
    """`Compute` of an update without a model, which writes down what of it is computed."""

    update: ClassVar[int] = 0
    num_updates: ClassVar[int] = 1
    seed: ClassVar[int] = 0

    weight: Tensor
    state: MutableMapping[str, Tensor] = field(default_factory=dict)
    parts: list[Part | None] = field(default_factory=list)

    def __call__(self, part: Part | None = None) -> Tensor:
        self.parts.append(part)
        self.weight.sum().backward()  # type: ignore[no-untyped-call]
        return self.weight.detach().sum()


def _parts(method: Any) -> Sequence[Part | None]:
    """The parts of a loss that a method's gradients are computed of, one after the other."""
    if not hasattr(method, "gradients"):
        return [None]
    import torch

    compute = _Counted(torch.ones(2, requires_grad=True))
    method.gradients(compute, weights={"weight": compute.weight})
    return compute.parts


def _share(method: Any) -> float:
    """Of a model's layers those that a step computes, where a method asks for the first ones alone."""
    wanted = getattr(method, "first_layers", 1.0)
    return wanted if isinstance(wanted, float) else 1.0


def in_words(request: Request) -> str:
    """A request as it is written, without what is as usual: `Scores(forget)`, `Hidden(retain, before)`."""
    said = [str(request.source)]
    said += [flag for flag in ("before", "compared") if getattr(request, flag, False) is True]
    if isinstance(request, Reference) and request.of != "before":
        said.append(request.of)
    if isinstance(request, Reference) and request.suffix is not None:
        said.append(f"by {request.suffix:g} of the context")
    if (kind := getattr(request, "kind", None)) is not None:
        said.append(kind if isinstance(kind, str) else getattr(kind, "__name__", type(kind).__name__))
    if getattr(request, "positions", "answer") != "answer":
        said.append(f"{request.positions} positions")  # type: ignore[union-attr]
    return f"{type(request).__name__}({', '.join(said)})"


def _made(kind: type[Any]) -> Any:
    """One with defaults; None where there has to be an argument."""
    needs = any(one.default is MISSING and one.default_factory is MISSING for one in fields(kind))
    return None if needs else kind()


def is_constant(request: Request) -> bool:
    """Whether no gradient goes through it; what another model says is computed once for all and kept."""
    return isinstance(request, Reference | Influence) or (isinstance(request, Hidden) and request.before)
