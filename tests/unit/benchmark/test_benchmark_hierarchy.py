"""Subtrees by path: what is below one, what is beside it, and a clear word for a path that nobody stands below."""

from __future__ import annotations

from typing import Any

import pytest

from mmforget.benchmark.hierarchy import divide, parse_path, relation
from mmforget.errors import UnknownName, UserError

PATHS = ("a", "a/p1", "a/p1/s1", "a/p1/s2", "a/p10/s1", "b/p1/s1")


def docs(*paths: str) -> list[dict[str, Any]]:
    """One document a path; the empty text is a row without a path."""
    return [{"id": str(number), "path": path.split("/") if path else []} for number, path in enumerate(paths)]


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [doc["id"] for doc in found]


@pytest.mark.parametrize(
    "forget_path, forgotten",
    [
        ("a", ["0", "1", "2", "3", "4"]),
        # p10 begins with the letters of p1 and is another patient; so is p1 of institution b.
        ("a/p1", ["1", "2", "3"]),
        ("a/p1/s2", ["3"]),
        (" b / p1 ", ["5"]),
    ],
)
def test_a_path_takes_everything_below_it_along(forget_path: str, forgotten: list[str]) -> None:
    rows = docs(*PATHS)
    divided = divide(rows, forget_path)
    assert ids(divided.forget) == forgotten
    assert ids(divided.retain) == [doc["id"] for doc in rows if doc["id"] not in forgotten]


@pytest.mark.parametrize(
    "path, found",
    [
        ("a/p1", "inside"),
        ("a/p1/s1/findings", "inside"),
        ("a", "ancestor"),
        ("", "ancestor"),
        ("a/p10", "sibling"),
        ("a/p10/s1", "sibling"),
        ("b", "elsewhere"),
        ("b/p1", "elsewhere"),
    ],
)
def test_how_a_place_relates_to_a_forgotten_patient(path: str, found: str) -> None:
    assert relation(path.split("/") if path else (), "a/p1") == found


def test_every_other_institution_is_a_sibling_of_one() -> None:
    assert [relation(path.split("/"), "a") for path in PATHS] == ["inside"] * 5 + ["sibling"]


@pytest.mark.parametrize("text", ["", "a//s1", "/a", "a/", " "])
def test_an_empty_part_is_refused(text: str) -> None:
    for call in (lambda: parse_path(text), lambda: divide(docs(*PATHS), text), lambda: relation(("a",), text)):
        with pytest.raises(UserError, match="empty part"):
            call()


def test_an_unknown_path_names_those_of_its_level() -> None:
    with pytest.raises(UnknownName, match="did you mean 'a/p1'") as caught:
        divide(docs(*PATHS), "a/pl")
    assert caught.value.known == ["a/p1", "a/p10", "b/p1"]
    with pytest.raises(UnknownName, match="known: a, b"):
        divide(docs(*PATHS), "hospital")


@pytest.mark.parametrize(
    "paths, forget_path, message",
    [
        (PATHS, "a/p1/s1/findings", "has 4 parts, and paths have at most 3"),
        (("", ""), "a", "have no path"),
        ((), "a", "have no path"),
        (("a/p1", "a/p2"), "a", "holds all 2 rows"),
    ],
)
def test_what_cannot_be_forgotten_as_a_part(paths: tuple[str, ...], forget_path: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        divide(docs(*paths), forget_path)
