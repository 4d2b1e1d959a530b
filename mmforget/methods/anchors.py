"""Terms of a text and what stands in their place, in pieces, so that both texts can be laid side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple


class Piece(NamedTuple):
    """A piece of a text.

    Attributes:
        text: as it stands there.
        other: what stands in its place.
        is_term: whether it is a term of the dictionary; else both are the same.
    """

    text: str
    other: str
    is_term: bool


def pieces(text: str, dictionary: Mapping[str, str]) -> list[Piece]:
    """A text in pieces, which joined are the text; none is empty.

    A term is found where no word goes on before or behind it, as it is written, and the longest one first. What stands
    in angle brackets, as placeholders of images do, is no word.
    """
    if not dictionary:
        return [Piece(text, text, is_term=False)] if text else []
    found, start = list[Piece](), 0
    longest = "|".join(re.escape(term) for term in sorted(dictionary, key=len, reverse=True))
    for match in re.finditer(rf"(?<![\w<|])(?:{longest})(?![\w>|])", text):
        before = text[start : match.start()]
        found += [Piece(before, before, is_term=False)] if before else []
        found.append(Piece(match.group(), dictionary[match.group()], is_term=True))
        start = match.end()
    rest = text[start:]
    return [*found, Piece(rest, rest, is_term=False)] if rest else found


def translated(found: list[Piece]) -> str:
    """The other text."""
    return "".join(piece.other for piece in found)
