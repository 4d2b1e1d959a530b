"""Several methods as one, named `a+b`: the sum of their losses, computed as their wrappers want it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmforget.errors import UnknownName, UserError
from mmforget.methods.arguments import as_mapping
from mmforget.methods.base import (
    JOINER,
    Grid,
    Method,
    Step,
    Wrapper,
    finish_of,
    hyper_parameters,
    part_with,
)
from mmforget.methods.computing import Compute, Scoped, Within
from mmforget.methods.making import arguments_of, make
from mmforget.methods.requests import Request, Source, sources_of
from mmforget.methods.steps import Beginning
from mmforget.plugins import running

if TYPE_CHECKING:
    from torch import Tensor

ONE_ALONE: Mapping[str, str] = {
    "reveal": "write the rows to forget",
    "base": "start from a base of their own",
    "choose_expert": "choose the expert that trains",
    "trained_part": "choose which elements of weights train",
    "first_factors": "say what adapters begin with",
    "learnt_change": "say what adapters add to weights",
}
"""What one part of a joined method may have, and what several would do both."""


@dataclass(frozen=True)
class Composite:
    """Minimises the sum of its parts' losses, each as it is alone; terms and state are named `part.name`.

    Attributes:
        names: of all parts, as they were joined.
        parts: those with a loss and those that wrap, in the same order.
    """

    names: tuple[str, ...]
    parts: tuple[Any, ...]

    @property
    def losses(self) -> dict[str, Method]:
        """The parts that have a loss, by name."""
        pairs = zip(self.names, self.parts, strict=True)
        return {name: part for name, part in pairs if hasattr(part, "loss")}

    @property
    def requests(self) -> tuple[Request, ...]:
        return tuple(dict.fromkeys(request for part in self.losses.values() for request in part.requests))

    @property
    def sources(self) -> tuple[Source, ...]:
        return tuple(source for part in self.losses.values() for source in sources_of(part).values())

    def start(self, beginning: Beginning) -> dict[str, Tensor]:
        """The state of every part that has one."""
        stateful = {name: part for name, part in self.losses.items() if hasattr(part, "start")}
        return {f"{n}.{key}": one for n, part in stateful.items() for key, one in part.start(beginning).items()}

    def loss(self, step: Step) -> dict[str, Tensor]:
        """The terms of all parts; every part sees the whole step, and its own state."""
        terms = {}
        for name, part in self.losses.items():
            own = {key.removeprefix(f"{name}."): one for key, one in step.state.items() if key.startswith(f"{name}.")}
            found = part.loss(Step(step.found, step.update, step.num_updates, own))
            step.state.update({f"{name}.{key}": one for key, one in own.items()})
            terms.update({f"{name}.{term}": value for term, value in found.items()})
        return terms

    def gradients(self, compute: Compute, *, weights: Mapping[str, Tensor]) -> Tensor:
        """As the wrappers among the parts want it, the first one outermost."""
        for name, part in reversed(list(zip(self.names, self.parts, strict=True))):
            if isinstance(part, Wrapper):
                compute = Within(part, compute, weights, name)
        return compute()

    @property
    def learnt_times(self) -> float:
        """What adapters have learnt is multiplied by this in the end."""
        found: float = getattr(part_with(self, "learnt_times"), "learnt_times", 1.0)
        return found

    @property
    def grid(self) -> Grid | None:
        """What is tried of the parts that say so, arguments as `part.argument`; None where none does."""
        found: dict[str, Any] = {}
        for name, part in zip(self.names, self.parts, strict=True):
            own = hyper_parameters(part)
            for key, values in (getattr(part, "grid", None) or {}).items():
                found.setdefault(f"{name}.{key}" if key in own else key, values)
        return found or None

    @property
    def finish(self) -> Callable[..., None] | None:
        """What the wrappers among the parts do in the end, each with its own state."""
        found = {name: finish_of(part) for name, part in zip(self.names, self.parts, strict=True)}
        ends = {name: one for name, one in found.items() if one is not None}

        def finish(weights: Mapping[str, Tensor], *, state: Any, update: int) -> None:
            for name, end in ends.items():
                end(weights, state=Scoped(state, f"{name}."), update=update)

        return finish if ends else None

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
    given = _divided(as_mapping(args, owner=f"method '{name}'"), names=names, owner=name)
    parts = []
    for one in names:
        part = make(one, given[one])
        others = tuple(other for other in names if other != one)
        with running(part, what=f"method '{one}': beside"):
            parts.append(part.beside(others) if hasattr(part, "beside") else part)
    _check(name, dict(zip(names, parts, strict=True)))
    return Composite(names, tuple(parts))


def joined_arguments(names: Sequence[str]) -> tuple[str, ...]:
    """The arguments of several methods, each by itself and with its method's name before it."""
    own = {name: arguments_of(name) for name in names}
    plain = {argument for known in own.values() for argument in known}
    return (*sorted(plain), *(f"{name}.{argument}" for name, known in own.items() for argument in known))


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
    losses = [part for part in parts.values() if hasattr(part, "loss")]
    edits, guards = ([one for one, part in parts.items() if hasattr(part, what)] for what in ("edit", "guard"))
    if edits and guards:
        raise UserError(
            f"method '{name}': '{edits[0]}' edits weights and '{guards[0]}' is a guard, and neither is joined; make a "
            f"guard of the edited model: first {edits[0]}, then {guards[0]} with --model hf --model_args "
            "pretrained=FOLDER/model"
        )
    reveals = any(hasattr(part, "reveal") for part in parts.values())
    _check_alone(name, parts)
    for one, part in parts.items():
        if hasattr(part, "edit"):
            raise UserError(f"method '{name}': '{one}' edits weights and trains nothing, so nothing can be added to it")
        if hasattr(part, "guard"):
            raise UserError(f"method '{name}': '{one}' is a guard, so nothing can be added to it")
        if hasattr(part, "learnt_times"):
            _check_taken_away(name, one, others=[other for key, other in parts.items() if key != one])
        if hasattr(part, "first_factors") and any(hasattr(other, "learnt_change") for other in parts.values()):
            raise UserError(
                f"method '{name}': the adapters of '{one}' begin as a part of the weights, and not at nothing; join "
                "the other with another loss, e.g. grad_diff"
            )
        if (len(losses) > 1 or reveals) and any(source.draw == "epoch" for source in sources_of(part).values()):
            raise UserError(
                f"method '{name}': epochs of '{one}' run over other rows than those to forget, so no other loss can be "
                "added to it, nor what writes rows to forget"
            )
    if not losses:
        raise UserError(f"method '{name}' has no loss: {', '.join(parts)} only change how another method trains")
    brought = [source.name for part in parts.values() for source in sources_of(part).values()]
    twice = next((source for source in brought if brought.count(source) > 1), None)
    if twice is not None:
        raise UserError(f"method '{name}': two of its methods bring the source '{twice}'; join one of them alone")


def _check_alone(name: str, parts: Mapping[str, Any]) -> None:
    """Raises UserError where several parts do what one alone can do."""
    for hook, what in ONE_ALONE.items():
        several = [one for one, part in parts.items() if hasattr(part, hook)]
        if len(several) > 1:
            raise UserError(f"method '{name}': {' and '.join(several)} both {what}; join one of them alone")


def _check_taken_away(name: str, one: str, *, others: Sequence[Any]) -> None:
    """Raises UserError for what is joined with a part that takes away in the end what adapters have learnt."""
    if not all(hasattr(other, "reveal") for other in others):
        raise UserError(f"method '{name}': '{one}' takes away what it learns, so nothing can be added to it")
    if any(other.rounds > 1 for other in others):
        raise UserError(
            f"method '{name}': '{one}' takes away only in the end what it learns, and until then the model knows more, "
            "so rows are written once; add rounds=1"
        )
