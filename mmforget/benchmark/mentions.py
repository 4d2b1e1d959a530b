"""Where a text names something: whether it does, which part of it is the name, and the same said of another."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_LETTERS = "0-9A-Za-z\u00c0-\u024f"


def mentions(text: str, *, names: Sequence[str]) -> bool:
    """Whether any of the names stands in the text, in any case, free of Latin letters and digits on both sides."""
    return any(re.search(_free(name), text, re.I) for name in names if name)


class Spans(NamedTuple):
    """Where names stand in a text.

    Attributes:
        starts: beginnings of the text that end before or behind a name.
        spans: for each name in it, the index in `starts` of the beginning before it (-1 where the name comes first) and
            of the one that ends with it.
    """

    starts: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]


def spans_of(text: str, *, names: Sequence[str]) -> Spans:
    """Every place where `mentions` finds a name; of names that begin alike the longest.

    Scored beside the text, its beginnings tell which of its tokens are a name's, whatever the tokenizer.
    """
    pattern = "|".join(map(_free, sorted(names, key=len, reverse=True)))
    starts: list[str] = []
    spans: list[tuple[int, int]] = []
    for found in re.finditer(pattern, text, re.I):
        before, through = text[: found.start()].rstrip(), text[: found.end()]
        spans.append((len(starts), len(starts) + 1) if before else (-1, len(starts)))
        starts += [before, through] if before else [through]
    return Spans(tuple(starts), tuple(spans))


def about_another(question: str, *, name: str, other: str) -> str:
    """A yes/no question about another concept; one that does not name its own is asked outright."""
    asked, count = re.subn(_free(name), lambda _: other, question, flags=re.I)
    return asked if count else f"Is this {other}?"


def _free(name: str) -> str:
    """A pattern for a name that is no part of a longer word; scripts that write no blanks may stand right beside it."""
    return rf"(?<![{_LETTERS}]){re.escape(name)}(?![{_LETTERS}])"
