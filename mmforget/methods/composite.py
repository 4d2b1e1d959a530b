"""Several methods as one, named `a+b`: what they need together, and the sum of their losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmforget.errors import UnknownName, UserError
from mmforget.methods.arguments import as_mapping, from_arguments
from mmforget.methods.base import JOINER, METHODS, Method, Need, Step, hyper_parameters, joined_arguments
from mmforget.methods.steps import RETAIN_NEEDS
from mmforget.types import LossParts


@dataclass(frozen=True)
class Composite:
    """Minimises the sum of its parts' losses, each as it is alone; terms are named `part.term`."""

    names: tuple[str, ...]
    parts: tuple[Method, ...]

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset().union(*(part.needs for part in self.parts))

    @property
    def benign_pairing(self) -> str:
        """How the part that needs benign rows wants them paired."""
        return next((str(part.benign_pairing) for part in self.parts if hasattr(part, "benign_pairing")), "paired")

    def loss(self, step: Step) -> LossParts:
        """The sum; every part sees the whole step."""
        found = {name: part.loss(step) for name, part in zip(self.names, self.parts, strict=True)}
        first, *rest = found.values()
        total = first.total
        for other in rest:
            total = total + other.total
        terms = {f"{name}.{term}": value for name, one in found.items() for term, value in one.parts.items()}
        return LossParts(total, terms)

    def hyper_parameters(self) -> dict[str, Any]:
        """Every part's arguments as `part.argument`."""
        pairs = zip(self.names, self.parts, strict=True)
        return {f"{name}.{key}": value for name, part in pairs for key, value in hyper_parameters(part).items()}


def join(name: str, args: str | Mapping[str, Any] = "") -> Composite:
    """The methods of `a+b` as one. A part with `beside(others)` is told the names of the others.

    Raises UnknownName for a part or an argument that does not exist, UserError for parts that cannot go together.
    """
    names = tuple(part.strip() for part in name.split(JOINER))
    if not all(names) or len(set(names)) < len(names):
        raise UserError(f"method '{name}' joins nothing, or one method twice; write different names, e.g. ga+pd")
    kinds = {one: METHODS.get(one) for one in names}
    given = _divided(as_mapping(args, owner=f"method '{name}'"), names=names, owner=name)
    parts = []
    for one, kind in kinds.items():
        part = from_arguments(kind, given[one], owner=f"method '{one}'")
        others = tuple(other for other in names if other != one)
        parts.append(part.beside(others) if hasattr(part, "beside") else part)
    _check(name, dict(zip(names, parts, strict=True)))
    return Composite(names, tuple(parts))


def _divided(args: Mapping[str, Any], *, names: tuple[str, ...], owner: str) -> dict[str, dict[str, Any]]:
    """Which part gets which argument."""
    known = joined_arguments(names)
    given: dict[str, dict[str, Any]] = {name: {} for name in names}
    for argument, value in sorted(args.items(), key=lambda item: "." in item[0]):
        if argument not in known:
            raise UnknownName(f"argument of method '{owner}'", name=argument, known=known)
        part, dot, own = argument.rpartition(".")
        for name in (part,) if dot else [name for name in names if f"{name}.{argument}" in known]:
            given[name][own] = value
    return given


def _check(name: str, parts: Mapping[str, Any]) -> None:
    for one, part in parts.items():
        if not hasattr(part, "loss"):
            raise UserError(f"method '{name}': '{one}' edits weights and trains nothing, so nothing can be added to it")
        if Need.BUILT in part.needs:
            raise UserError(f"method '{name}': '{one}' writes its own rows, so nothing can be added to it")
    everywhere = [one for one, part in parts.items() if Need.ALL_POSITIONS in part.needs]
    answers = [one for one, part in parts.items() if RETAIN_NEEDS & part.needs and one not in everywhere]
    if everywhere and answers:
        raise UserError(
            f"method '{name}': '{everywhere[0]}' looks at every position of retain rows and '{answers[0]}' at their "
            f"answers alone; choose positions=answer for '{everywhere[0]}'"
        )
