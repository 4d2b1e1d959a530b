"""Typed arguments from text: `"beta=0.1,variant=seq_mean"` or a mapping becomes a frozen dataclass, checked."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union

from mmforget.errors import UnknownName, UserError, shortened

T = TypeVar("T")
TRUE, FALSE = ("true", "yes", "1", "on"), ("false", "no", "0", "off")


def from_arguments(kind: type[T], args: str | Mapping[str, Any], *, owner: str) -> T:
    """An instance of the dataclass `kind`, whose fields are the arguments and whose defaults stand where none is given.

    Args:
        owner: whose arguments these are, for messages, e.g. `method 'npo'`.

    Raises UnknownName for an argument that is not a field, UserError for a value that its type does not allow.
    """
    known = argument_types(kind)
    values = {}
    for name, value in as_mapping(args, owner=owner).items():
        if name not in known:
            raise UnknownName(f"argument of {owner}", name=name, known=known)
        values[name] = coerce(value, known[name], name=f"{name} of {owner}")
    return kind(**values)


def argument_types(kind: type[Any], *, names: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The dataclass's fields by name, with their types; `names` resolves those not imported at run time."""
    hints = typing.get_type_hints(kind, localns=dict(names or {}))
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}


def as_mapping(args: str | Mapping[str, Any], *, owner: str) -> dict[str, Any]:
    """`"a=1,b=2"` as a mapping of strings. Raises UserError for a part without `=` or a name given twice."""
    if not isinstance(args, str):
        return dict(args)
    found: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in args.split(","))):
        name, equals, value = part.partition("=")
        name = name.strip()
        if not equals or not name:
            raise UserError(f"arguments of {owner}: '{part}' is not NAME=VALUE; write them as beta=0.1,retain_weight=1")
        if name in found:
            raise UserError(f"arguments of {owner}: '{name}' is given twice; keep one")
        found[name] = value.strip()
    return found


def coerce(value: Any, kind: Any, *, name: str) -> Any:
    """`value`, perhaps text, as the type `kind`: bool, int, float, str, a Literal, a tuple of one, or either or None.

    Raises UserError naming the value and what is allowed. NaN and infinities are never allowed.
    """
    origin = typing.get_origin(kind)
    if origin is Literal:
        return _one_of(value, typing.get_args(kind), name=name)
    if origin in (Union, types.UnionType):
        inner = [option for option in typing.get_args(kind) if option is not type(None)]
        if value is None or (isinstance(value, str) and value.lower() in ("none", "null", "")):
            return None
        is_list = isinstance(value, (list, tuple))
        fitting = [option for option in inner if (typing.get_origin(option) is tuple) == is_list]
        return coerce(value, (fitting or inner)[0], name=name)
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(coerce(item, typing.get_args(kind)[0], name=name) for item in value)
    if kind is bool:
        return _boolean(value, name=name)
    if kind in (int, float):
        return _number(value, kind, name=name)
    if isinstance(kind, type) and isinstance(value, kind):
        return value
    wanted = "text" if kind is str else getattr(kind, "__name__", str(kind))
    raise UserError(f"{name}: {shortened(value)} is not {wanted}; give {wanted}")


def _one_of(value: Any, allowed: tuple[Any, ...], *, name: str) -> Any:
    for option in allowed:
        if value == option or str(value) == str(option):
            return option
    raise UnknownName(f"value for {name}", name=str(value), known=map(str, allowed))


def _boolean(value: Any, *, name: str) -> bool:
    text = str(value).lower()
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    raise UserError(f"{name}: {shortened(value)} is not a yes or no; give true or false")


def _number(value: Any, kind: type[int] | type[float], *, name: str) -> int | float:
    wanted = "a whole number" if kind is int else "a number"
    try:
        number = math.nan if isinstance(value, bool) else float(value)
        # A whole number stays what it is: a float has not as many digits.
        is_whole = kind is int and number.is_integer()
        found = int(value) if is_whole and not isinstance(value, str | float) else number
    except (TypeError, ValueError, OverflowError):
        number = found = math.nan
    if not math.isfinite(number) or (kind is int and not number.is_integer()):
        raise UserError(f"{name}: {shortened(value)} is not {wanted}; give {wanted}")
    return kind(found)


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
