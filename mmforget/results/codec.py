"""Frozen dataclasses to JSON and back: every key is checked, and NaN never reaches a file.

JSON knows no NaN and no infinity, so `to_jsonable` writes null in their place and says where it did.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from functools import cache
from itertools import repeat
from operator import itemgetter
from pathlib import PurePath
from sys import intern
from typing import Any, Literal, NamedTuple, TypeVar, Union

from mmforget.errors import UserError, shortened
from mmforget.reading import MAX_DEPTH, is_deep

T = TypeVar("T")

MAX_INTEGER = 2**63 - 1
MAX_TEXT = 4_000_000
"""Longest text in a record, in characters; a picture of an example is text, too."""
MAX_NAME = 64
"""Texts below this length are names more often than not."""


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


def json_line(value: Any, *, sort_keys: bool = False) -> str:
    """`to_jsonable` as one line of JSON; fast where nothing is NaN and all that is no plain value is a dataclass."""
    settings: dict[str, Any] = {"ensure_ascii": False, "allow_nan": False, "sort_keys": sort_keys}
    try:
        return json.dumps(value, default=_fields_of, **settings)
    except (TypeError, ValueError):
        return json.dumps(to_jsonable(value).value, **settings)


def _fields_of(value: Any) -> dict[str, Any]:
    if not dataclasses.is_dataclass(value):
        raise TypeError
    return vars(value)


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
        return _anything
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


def _anything(value: Any) -> Any:
    if is_deep(value):
        raise _Misfit(lambda path: f"'{path[:200]}' is nested deeper than {MAX_DEPTH} levels; the file was edited")
    return value


AS_IT_IS: Mapping[Any, tuple[type, ...]] = {
    str: (str,),
    int: (int,),
    float: (float,),
    bool: (bool,),
    Any: (str, float, int, bool, type(None)),
}
"""By type, the types of JSON values that are kept as they are: most values of a record are of these."""


def _as_it_is(kind: Any) -> frozenset[type]:
    if typing.get_origin(kind) in (Union, types.UnionType):
        return frozenset().union(*(_as_it_is(one) for one in typing.get_args(kind)))
    return frozenset((kind,) if kind is type(None) else AS_IT_IS.get(kind, ()))


class _Plan(NamedTuple):
    """What is to be done with the values of an instance, by place, where they have certain types.

    Attributes:
        numbers: integers, which only have to be small enough.
        texts: texts, which have to be short enough.
        others: all that is not as it is in JSON.
    """

    numbers: tuple[int, ...]
    texts: tuple[int, ...]
    others: tuple[tuple[int, Decoder], ...]


def _dataclass_decoder(kind: Any) -> Decoder:
    """Looks at the types of all values of an instance at once: what is to be done with such values is known by then."""
    hints = typing.get_type_hints(kind)
    names = _field_names(kind)
    decoders = [
        _range_decoder if field.metadata.get(OPEN) else _decoder(hints[field.name])
        for field in dataclasses.fields(kind)
    ]  # fmt: skip
    allowed = [_as_it_is(hints[name]) for name in names]
    values_of: Callable[[Any], Any] = itemgetter(*names) if len(names) > 1 else lambda value: (value[names[0]],)
    make = _maker(kind, names=names)
    plans: dict[tuple[type, ...], _Plan] = {}

    def plan_of(kinds: tuple[type, ...]) -> _Plan:
        there = list(enumerate(kinds))
        numbers = tuple(i for i, one in there if one is int and int in allowed[i] and hints[names[i]] is not Any)
        texts = tuple(i for i, one in there if one is str and str in allowed[i])
        return _Plan(numbers, texts, tuple((i, decoders[i]) for i, one in there if one not in allowed[i]))

    def decode(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _wrong(value, wanted="an object")
        try:
            found = list(values_of(value))
        except KeyError:
            raise _wrong_keys(value, names=names) from None
        if len(value) != len(names):
            raise _wrong_keys(value, names=names)
        kinds = tuple(map(type, found))
        plan = plans.get(kinds) or plans.setdefault(kinds, plan_of(kinds))
        place = 0
        try:
            for place in plan.numbers:
                if not -MAX_INTEGER <= found[place] <= MAX_INTEGER:
                    raise _wrong(found[place], wanted=f"a number up to {MAX_INTEGER}")
            for place in plan.texts:
                text = found[place]
                found[place] = intern(text) if len(text) < MAX_NAME else _text(text)
            for place, decoder in plan.others:
                found[place] = decoder(found[place])
        except _Misfit as misfit:
            misfit.keys.append(names[place])
            raise
        return make(found)

    return decode


def _maker(kind: Any, *, names: Sequence[str]) -> Callable[[Sequence[Any]], Any]:
    """What makes an instance of the values of its fields. Frozen classes set theirs one by one, in twice the time."""
    if hasattr(kind, "__post_init__") or hasattr(kind, "__slots__"):
        return lambda values: kind(**dict(zip(names, values, strict=True)))

    def make(values: Sequence[Any]) -> Any:
        made = object.__new__(kind)
        made.__dict__.update(zip(names, values, strict=True))
        return made

    return make


OPEN = "open"
"""Key of a field's metadata: a range, of which an end without a bound is null in JSON."""
UNIT = (0.0, 1.0)


def _range_decoder(value: Any) -> Any:
    """A range with null ends as the infinities that they stand for."""
    if value == [0.0, 1.0]:
        return UNIT
    if isinstance(value, list) and len(value) == 2:
        low, high = value
        value = [-math.inf if low is None else low, math.inf if high is None else high]
    return _decoder(tuple[float, float])(value)


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
        if not value:
            return ()
        return _all_of(enumerate(value), repeat(decoders[0]) if is_open else decoders)

    return decode


def _all_of(items: Iterable[tuple[object, Any]], decoders: Iterable[Decoder]) -> tuple[Any, ...]:
    """What lies at some keys, decoded; the key of a misfit is put to it."""
    found = []
    at: object = None
    try:
        for (key, item), decoder in zip(items, decoders, strict=False):
            at = key
            found.append(decoder(item))
    except _Misfit as misfit:
        misfit.keys.append(at)
        raise
    return tuple(found)


def _mapping_decoder(decoder: Decoder) -> Decoder:
    def decode(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _wrong(value, wanted="an object")
        return dict(zip(value, _all_of(value.items(), repeat(decoder)), strict=True))

    return decode


def _scalar_decoder(kind: Any) -> Decoder:
    if kind is str:
        return _text

    def decode(value: Any) -> Any:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if is_number and isinstance(value, int) and abs(value) > MAX_INTEGER:
            raise _wrong(value, wanted=f"a number up to {MAX_INTEGER}")
        if kind is float and is_number:
            return float(value)
        if kind is int and is_number and isinstance(value, int):
            return value
        if kind is bool and isinstance(value, bool):
            return value
        raise _wrong(value, wanted=f"a {getattr(kind, '__name__', kind)}")

    return decode


def _text(value: Any) -> str:
    """A text; one that records of many models have in common, as names are, is kept once."""
    if not isinstance(value, str):
        raise _wrong(value, wanted="a str")
    if len(value) > MAX_TEXT:
        raise _wrong(value, wanted=f"a text of at most {MAX_TEXT:,} characters")
    return intern(value) if len(value) < MAX_NAME else value


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
