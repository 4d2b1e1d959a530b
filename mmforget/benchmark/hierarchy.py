"""Rows that stand in a hierarchy: what falls below a path such as `inst_03/pat_0012`, and how other rows relate to it.

A row's `path` names its place, outermost part first; a subtree is named by the first parts of the paths below it,
joined by `/`. To forget a subtree is to forget every row whose path begins with its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from mmforget.errors import UnknownName, UserError

SEPARATOR = "/"
Relation = Literal["inside", "ancestor", "sibling", "elsewhere"]
Doc = TypeVar("Doc", bound=Mapping[str, Any])


class Divided(NamedTuple, Generic[Doc]):
    """Documents in two parts, each in the order they came in.

    Attributes:
        forget: those below the path.
        retain: all others.
    """

    forget: list[Doc]
    retain: list[Doc]


def parse_path(text: str) -> tuple[str, ...]:
    """The parts of a path such as `inst_03/pat_0012`. Raises UserError where a part is empty."""
    parts = tuple(part.strip() for part in text.split(SEPARATOR))
    if not all(parts):
        raise UserError(f"forget_path '{text}' has an empty part; give names joined by '{SEPARATOR}', outermost first")
    return parts


def relation(path: Sequence[str], forget_path: str) -> Relation:
    """How a row or node at `path` stands to the subtree that is forgotten.

    `inside` it; its `ancestor` (above it, as a question about a patient is when one of their studies is forgotten); its
    `sibling`, or below one (it shares the parent of the subtree); `elsewhere`. Raises UserError for an empty part.
    """
    forgotten, place = parse_path(forget_path), tuple(path)
    size = len(forgotten)
    if place[:size] == forgotten:
        return "inside"
    if forgotten[: len(place)] == place:
        return "ancestor"
    return "sibling" if len(place) >= size and place[: size - 1] == forgotten[:-1] else "elsewhere"


def divide(docs: Sequence[Doc], forget_path: str) -> Divided[Doc]:
    """The documents below `forget_path` and all others; a document is a mapping with a `path`.

    Raises UserError for an empty part, for a path that no document lies below (UnknownName, with the paths there are at
    that level), and for one that holds all of them, so that nothing would be left to keep.
    """
    forgotten = parse_path(forget_path)
    divided: Divided[Doc] = Divided([], [])
    for doc in docs:
        part = divided.forget if tuple(doc["path"])[: len(forgotten)] == forgotten else divided.retain
        part.append(doc)
    if not divided.forget:
        raise _unknown(forgotten, paths=[tuple(doc["path"]) for doc in docs])
    if not divided.retain:
        raise UserError(
            f"forget_path '{forget_path}' holds all {len(docs)} rows, so nothing is left to keep; name a smaller part"
        )
    return divided


def _unknown(forgotten: tuple[str, ...], *, paths: Iterable[tuple[str, ...]]) -> UserError:
    """The error for a path that no row lies below."""
    places = set(paths)
    deepest, size = max((len(place) for place in places), default=0), len(forgotten)
    name = SEPARATOR.join(forgotten)
    if not deepest:
        return UserError(f"forget_path '{name}': the rows of this benchmark have no path, so they have no subtrees")
    if size > deepest:
        return UserError(f"forget_path '{name}' has {size} parts, and paths have at most {deepest}; give fewer")
    known = {SEPARATOR.join(place[:size]) for place in places if len(place) >= size}
    return UnknownName("forget_path", name=name, known=known)
