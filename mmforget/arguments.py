"""Arguments as people type them, read as lm_eval reads them, and checked against the types of a dataclass's fields."""

from __future__ import annotations

import ast
import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, Union

from mmforget.errors import UnknownName, UserError, shortened

MAX_SEED = 2**32 - 1
"""Largest seed that NumPy's generator, and with it the Trainer of transformers, takes."""
TRUE, FALSE = ("true", "yes", "1", "on"), ("false", "no", "0", "off")
OPENING, CLOSING, QUOTES = "([{", ")]}", "\"'"


def typed_arguments(text: str, *, owner: str) -> dict[str, Any]:
    """The arguments with values of the type they are written as: `max_gen_toks=8,until=["a","b"]`.

    Raises UserError naming `owner` for a part without `=`, a name given twice and JSON that is none.
    """
    return arguments_in(text, owner=owner, read=typed)


def arguments_in(text: str, *, owner: str, read: Callable[[str], Any] = str) -> dict[str, Any]:
    """The same with values as `read` makes them of their text; those of a JSON object have their own types."""
    found: dict[str, Any] = {}
    for part in split_top_level(text):
        for name, value in _named(part, owner=owner, read=read).items():
            if name in found:
                raise UserError(f"{owner}: '{name}' is given twice; give it once")
            found[name] = value
    return found


def typed(value: Any) -> Any:
    """A text as the bool, number or Python literal it is written as, else as it is; other values unchanged."""
    if not isinstance(value, str):
        return value
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    for read in (int, float, ast.literal_eval):
        try:
            return read(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return value


def split_top_level(text: str) -> list[str]:
    """The parts between commas that stand outside of brackets and quotes, without blanks around them or empty ones.

    A quote or bracket that is never closed is a letter like any other.
    """
    parts = _split(text)
    return [part for part in (part.strip() for part in (text.split(",") if parts is None else parts)) if part]


def _split(text: str) -> list[str] | None:
    parts, start, depth, quote, skip = [], 0, 0, "", False
    for place, char in enumerate(text):
        if skip or (char == "\\" and quote):
            skip = not skip
        elif quote:
            quote = "" if char == quote else quote
        elif char in QUOTES:
            quote = char
        elif char in OPENING or char in CLOSING:
            depth = max(0, depth + (1 if char in OPENING else -1))
        elif char == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return None if quote or depth else [*parts, text[start:]]


def _named(part: str, *, owner: str, read: Callable[[str], Any]) -> dict[str, Any]:
    if part.startswith("{"):
        return _json_object(part, owner=owner)
    name, equals, value = part.partition("=")
    if not equals or not name.strip():
        raise UserError(f"{owner}: '{part}' has no value; write NAME=VALUE,NAME=VALUE or a JSON object")
    return {name.strip(): read(value.strip())}


def _json_object(text: str, *, owner: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{owner} is not valid JSON: {error}; write e.g. '{{\"name\": 1}}'") from error
    return {str(name): value for name, value in found.items()}


def argument_types(kind: type[Any], *, names: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The dataclass's fields by name, with their types; `names` resolves those not imported at run time."""
    hints = typing.get_type_hints(kind, localns=dict(names or {}))
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}


def checked(args: Mapping[str, Any], known: Mapping[str, Any], *, owner: str) -> dict[str, Any]:
    """The arguments as values of the types that `known` gives by name.

    Args:
        owner: whose arguments these are, for messages, e.g. `method 'npo'`.

    Raises UnknownName for a name that is not known, UserError for a value that its type does not allow.
    """
    found = {}
    for name, value in args.items():
        if name not in known:
            raise UnknownName(f"argument of {owner}", name=str(name), known=known)
        found[name] = coerce(value, known[name], name=f"{name} of {owner}")
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
