"""Typed arguments from text: `"beta=0.1,variant=seq_mean"` or a mapping becomes a frozen dataclass, checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from mmforget.arguments import argument_types, arguments_in, checked
from mmforget.errors import UserError
from mmforget.reading import read_text

T = TypeVar("T")


def from_arguments(kind: type[T], args: str | Mapping[str, Any], *, owner: str) -> T:
    """An instance of the dataclass `kind`, whose fields are the arguments and whose defaults stand where none is given.

    Args:
        owner: whose arguments these are, for messages, e.g. `method 'npo'`.

    Raises UnknownName for an argument that is not a field, UserError for a value that its type does not allow.
    """
    return kind(**checked(as_mapping(args, owner=owner), argument_types(kind), owner=owner))


def as_mapping(args: str | Mapping[str, Any], *, owner: str) -> dict[str, Any]:
    """`"a=1,b=2"` as a mapping; see `arguments_in`."""
    return arguments_in(args, owner=f"arguments of {owner}") if isinstance(args, str) else dict(args)


def text_of(argument: str, file: str) -> str:
    """The text of a file that an argument names. Raises UserError, which calls the argument, where it has none."""
    try:
        return read_text(Path(file).expanduser())
    except UserError as error:
        raise UserError(f"{argument}={error}") from error


def require_positive(**values: float) -> None:
    """Raises UserError naming the first value that is not above 0."""
    for name, value in values.items():
        if not value > 0:
            raise UserError(f"{name}={value} is not allowed; give a number above 0")


def require_not_negative(**values: float) -> None:
    """Raises UserError naming the first value that is below 0."""
    for name, value in values.items():
        if not value >= 0:
            raise UserError(f"{name}={value} is not allowed; give 0 or a number above it")


def require_below_one(**values: float) -> None:
    """Raises UserError naming the first value that is not below 1."""
    for name, value in values.items():
        if not value < 1:
            raise UserError(f"{name}={value} is not allowed; give a number below 1")
