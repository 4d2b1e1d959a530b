"""Frozen dataclasses to JSON and back: every key is checked, and NaN never reaches a file.

JSON knows no NaN and no infinity, so `to_jsonable` writes null in their place and says where it did.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
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
    return Jsonable(_plain(value, place=None, strict=strict, nonfinite=nonfinite), tuple(nonfinite))


def from_json(kind: type[T], value: Any, *, source: str, path: str = "") -> T:
    """An instance of the dataclass `kind` from what `to_jsonable` wrote.

    Raises UserError that names `source` and the dotted path of a key that is missing, unknown or of the wrong type.
    """
    decoder: Decoder = _decoder(typing.cast(Any, kind))
    try:
        decoded: T = decoder(value)
    except _Misfit as misfit:
        where = ".".join([*([path] if path else []), *(str(key) for key in reversed(misfit.keys))])
        raise UserError(f"{source}: {misfit.say(where)}") from None
    return decoded


class _Place(NamedTuple):
    """A key and what it lies in; made into a dotted path only where one is told."""

    above: _Place | None
    key: object

    def path(self) -> str:
        return f"{self.above.path()}.{self.key}" if self.above else str(self.key)


def _plain(value: Any, *, place: _Place | None, strict: bool, nonfinite: list[str]) -> Any:
    if value is None or isinstance(value, (bool, str, int)) and not isinstance(value, Enum):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        nonfinite.append(place.path() if place else "")
        return None
    return _plain_container(value, place=place, strict=strict, nonfinite=nonfinite)


def _plain_container(value: Any, *, place: _Place | None, strict: bool, nonfinite: list[str]) -> Any:
    def inner(item: Any, key: object) -> Any:
        if type(item) in (str, int, bool, type(None)):
            return item
        return _plain(item, place=_Place(place, key), strict=strict, nonfinite=nonfinite)

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: inner(getattr(value, name), name) for name in _field_names(type(value))}
    if isinstance(value, Mapping):
        return {str(key): inner(item, key) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [inner(item, index) for index, item in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        return [inner(item, index) for index, item in enumerate(sorted(value, key=str))]
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Enum):
        return _plain(value.value, place=place, strict=strict, nonfinite=nonfinite)
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return _plain(value.tolist(), place=place, strict=strict, nonfinite=nonfinite)
    if strict:
        raise TypeError(f"{place.path() if place else 'value'}: a {type(value).__name__} cannot be written to JSON")
    return str(value)


@cache
def _field_names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


Decoder = Callable[[Any], Any]


class _Misfit(Exception):
    """A value that does not fit its type: what to say of it, and the keys that lead to it, innermost first."""

    def __init__(self, say: Callable[[str], str]) -> None:
        super().__init__()
        self.say = say
        self.keys: list[object] = []


@cache
def _decoder(kind: Any) -> Decoder:
    """What reads a value of a type: made once a type, since to look at types takes longer than to read values."""
    if kind is Any:
        return lambda value: value
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _dataclass_decoder(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return _union_decoder(arguments)
    if origin is Literal:
        return _literal_decoder(arguments)
    if origin is tuple:
        return _tuple_decoder(arguments)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping_decoder(_decoder(arguments[1]))
    return _scalar_decoder(kind)


def _within(decoder: Decoder, value: Any, key: object) -> Any:
    """Decodes what lies at a key, and puts the key to a misfit."""
    try:
        return decoder(value)
    except _Misfit as misfit:
        misfit.keys.append(key)
        raise


def _dataclass_decoder(kind: Any) -> Decoder:
    hints = typing.get_type_hints(kind)
    decoders = {name: _decoder(hints[name]) for name in _field_names(kind)}

    def decode(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _wrong(value, wanted="an object")
        if value.keys() != decoders.keys():
            raise _wrong_keys(value, names=tuple(decoders))
        return kind(**{name: _within(decoder, value[name], name) for name, decoder in decoders.items()})

    return decode


def _union_decoder(arguments: Sequence[Any]) -> Decoder:
    """Of a type or None: no other union can be told from its JSON."""
    (kind,) = [argument for argument in arguments if argument is not type(None)]
    decoder, optional = _decoder(kind), type(None) in arguments
    return lambda value: None if value is None and optional else decoder(value)


def _literal_decoder(arguments: Sequence[Any]) -> Decoder:
    def decode(value: Any) -> Any:
        if value not in arguments:
            raise _wrong(value, wanted="one of " + ", ".join(map(repr, arguments)))
        return value

    return decode


def _tuple_decoder(arguments: Sequence[Any]) -> Decoder:
    is_open = len(arguments) == 2 and arguments[1] is Ellipsis
    decoders = [_decoder(argument) for argument in arguments[: 1 if is_open else None]]

    def decode(value: Any) -> Any:
        if not isinstance(value, list):
            raise _wrong(value, wanted="a list")
        if not is_open and len(decoders) != len(value):
            raise _wrong(value, wanted=f"a list of {len(decoders)}")
        several = decoders * len(value) if is_open else decoders
        return tuple(_within(one, item, i) for i, (one, item) in enumerate(zip(several, value, strict=True)))

    return decode


def _mapping_decoder(decoder: Decoder) -> Decoder:
    def decode(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _wrong(value, wanted="an object")
        return {key: _within(decoder, item, key) for key, item in value.items()}

    return decode


def _scalar_decoder(kind: Any) -> Decoder:
    def decode(value: Any) -> Any:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if is_number and isinstance(value, int) and abs(value) > MAX_INTEGER:
            raise _wrong(value, wanted=f"a number up to {MAX_INTEGER}")
        if kind is float and is_number:
            return float(value)
        if kind is int and is_number and isinstance(value, int):
            return value
        if kind is str and isinstance(value, str) and len(value) > MAX_TEXT:
            raise _wrong(value, wanted=f"a text of at most {MAX_TEXT:,} characters")
        if kind in (str, bool) and isinstance(value, kind):
            return value
        raise _wrong(value, wanted=f"a {getattr(kind, '__name__', kind)}")

    return decode


def _wrong_keys(value: Mapping[str, Any], *, names: Sequence[str]) -> _Misfit:
    missing, unknown = [name for name in names if name not in value], [key for key in value if key not in names]
    parts = [f"missing {', '.join(missing)}"] if missing else []
    parts += [f"unknown {', '.join(key[:80] for key in unknown[:20])}"] if unknown else []

    def say(path: str) -> str:
        where = f"'{path}'" if path else "the record"
        return (
            f"keys of {where} are wrong: {'; '.join(parts)}; it was written by another version of mmforget "
            "or edited by hand: read it with that version, or run again"
        )

    return _Misfit(say)


def _wrong(value: Any, *, wanted: str) -> _Misfit:
    return _Misfit(
        lambda path: (
            f"'{path[:200]}' is {shortened(value)}, expected {wanted}; the file was edited or is damaged, run again"
        )
    )
