"""Frozen dataclasses to JSON and back: every key is checked, and NaN never reaches a file.

JSON knows no NaN and no infinity, so `to_jsonable` writes null in their place and says where it did.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache
from pathlib import PurePath
from typing import Any, Literal, NamedTuple, TypeVar, Union

from mmforget.errors import UserError, shortened

T = TypeVar("T")

MAX_INTEGER = 2**63 - 1
MAX_TEXT = 4_000_000
"""Longest text in a record, in characters; a picture of an example is text, too."""


class Jsonable(NamedTuple):
    """A value that `json.dumps(..., allow_nan=False)` accepts.

    Attributes:
        value: dicts with string keys, lists, strings, numbers, booleans and None.
        nonfinite: dotted paths of the numbers that were NaN or infinite and are null in `value`.
    """

    value: Any
    nonfinite: tuple[str, ...]


def to_jsonable(value: Any, *, strict: bool = True) -> Jsonable:
    """Dataclasses, mappings, sequences, paths, enums and numpy numbers as plain JSON values.

    Args:
        strict: raise TypeError on anything else; otherwise write its `str`, as lm_eval does.
    """
    nonfinite: list[str] = []
    return Jsonable(_plain(value, path="", strict=strict, nonfinite=nonfinite), tuple(nonfinite))


def from_json(kind: type[T], value: Any, *, source: str, path: str = "") -> T:
    """An instance of the dataclass `kind` from what `to_jsonable` wrote.

    Raises UserError that names `source` and the dotted path of a key that is missing, unknown or of the wrong type.
    """
    decoded: T = _decode(kind, value, source=source, path=path)
    return decoded


def _plain(value: Any, *, path: str, strict: bool, nonfinite: list[str]) -> Any:
    if value is None or isinstance(value, (bool, str, int)) and not isinstance(value, Enum):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        nonfinite.append(path)
        return None
    return _plain_container(value, path=path, strict=strict, nonfinite=nonfinite)


def _plain_container(value: Any, *, path: str, strict: bool, nonfinite: list[str]) -> Any:
    def inner(item: Any, key: object) -> Any:
        return _plain(item, path=f"{path}.{key}" if path else str(key), strict=strict, nonfinite=nonfinite)

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: inner(getattr(value, field.name), field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): inner(item, key) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [inner(item, index) for index, item in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        return [inner(item, index) for index, item in enumerate(sorted(value, key=str))]
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Enum):
        return _plain(value.value, path=path, strict=strict, nonfinite=nonfinite)
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return _plain(value.tolist(), path=path, strict=strict, nonfinite=nonfinite)
    if strict:
        raise TypeError(f"{path or 'value'}: a {type(value).__name__} cannot be written to JSON")
    return str(value)


def _decode(kind: Any, value: Any, *, source: str, path: str) -> Any:
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decode_dataclass(kind, value, source=source, path=path)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return _decode_union(arguments, value, source=source, path=path)
    if origin is Literal:
        if value not in arguments:
            raise _wrong(source, path=path, value=value, wanted="one of " + ", ".join(map(repr, arguments)))
        return value
    if origin is tuple:
        return _decode_tuple(arguments, value, source=source, path=path)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise _wrong(source, path=path, value=value, wanted="an object")
        return {key: _decode(arguments[1], item, source=source, path=_join(path, key)) for key, item in value.items()}
    return _decode_scalar(kind, value, source=source, path=path)


def _decode_dataclass(kind: Any, value: Any, *, source: str, path: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(source, path=path, value=value, wanted="an object")
    names = [field.name for field in dataclasses.fields(kind)]
    missing, unknown = [name for name in names if name not in value], [key for key in value if key not in names]
    if missing or unknown:
        parts = [f"missing {', '.join(missing)}"] if missing else []
        parts += [f"unknown {', '.join(key[:80] for key in unknown[:20])}"] if unknown else []
        where = f"'{path}'" if path else "the record"
        raise UserError(
            f"{source}: keys of {where} are wrong: {'; '.join(parts)}; it was written by another version of mmforget "
            "or edited by hand: read it with that version, or run again"
        )
    hints = _type_hints(kind)
    return kind(**{name: _decode(hints[name], value[name], source=source, path=_join(path, name)) for name in names})


@cache
def _type_hints(kind: Any) -> dict[str, Any]:
    """The types of a dataclass's fields; to evaluate them anew takes longer than to read a record."""
    found: dict[str, Any] = typing.get_type_hints(kind)
    return found


def _decode_union(arguments: Sequence[Any], value: Any, *, source: str, path: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    (kind,) = [argument for argument in arguments if argument is not type(None)]
    return _decode(kind, value, source=source, path=path)


def _decode_tuple(arguments: Sequence[Any], value: Any, *, source: str, path: str) -> Any:
    if not isinstance(value, list):
        raise _wrong(source, path=path, value=value, wanted="a list")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        kinds = [arguments[0]] * len(value)
    elif len(arguments) == len(value):
        kinds = list(arguments)
    else:
        raise _wrong(source, path=path, value=value, wanted=f"a list of {len(arguments)}")
    decoded = (
        _decode(kind, item, source=source, path=_join(path, i))
        for i, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )
    return tuple(decoded)


def _decode_scalar(kind: Any, value: Any, *, source: str, path: str) -> Any:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise _wrong(source, path=path, value=value, wanted=f"a number up to {MAX_INTEGER}")
    if kind is float and is_number:
        return float(value)
    if kind is int and is_number and isinstance(value, int):
        return value
    if kind is str and isinstance(value, str) and len(value) > MAX_TEXT:
        raise _wrong(source, path=path, value=value, wanted=f"a text of at most {MAX_TEXT:,} characters")
    if kind in (str, bool) and isinstance(value, kind):
        return value
    raise _wrong(source, path=path, value=value, wanted=f"a {getattr(kind, '__name__', kind)}")


def _wrong(source: str, *, path: str, value: Any, wanted: str) -> UserError:
    return UserError(
        f"{source}: '{path[:200]}' is {shortened(value)}, expected {wanted}; the file was edited or is damaged, "
        "run again"
    )


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)
