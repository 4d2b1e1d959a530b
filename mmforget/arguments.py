"""Arguments as people type them, `NAME=VALUE,NAME=VALUE` or a JSON object, read as lm_eval reads them."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from typing import Any

from mmforget.errors import UserError

MAX_SEED = 2**32 - 1
"""Largest seed that NumPy's generator, and with it the Trainer of transformers, takes."""
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
