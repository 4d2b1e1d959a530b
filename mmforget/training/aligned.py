"""A row beside its translation: which token of its answer is predicted behind the same words as which of the other's.

A term's first token stands where its translation's first token does, whatever both are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mmforget.methods.anchors import Piece, pieces, translated
from mmforget.model.encode import Encoded
from mmforget.model.examples import encode_all
from mmforget.model.loaded import LoadedModel
from mmforget.model.token_starts import answer_starts, text_starts
from mmforget.types import Example


class Aligned(NamedTuple):
    """A row's translation.

    Attributes:
        other: it, encoded.
        pairs: positions of tokens in the row and in the other, in ascending order, each of an answer.
    """

    other: Encoded
    pairs: tuple[tuple[int, int], ...]


def aligned_rows(
    loaded: LoadedModel,
    rows: Sequence[Example],
    *,
    encoded: Sequence[Encoded],
    dictionary: Mapping[str, str],
    append_eos: bool,
) -> list[Aligned]:
    """Of rows as the model is asked. A document's window is a text of its own.

    Raises BadData naming rows whose translation cannot be encoded.
    """
    others = [_other(row, dictionary) for row in rows]
    asked = [other for other in others if not other.is_document]
    made = iter(encode_all(loaded, asked, append_eos=append_eos, source="translated rows") if asked else [])
    return [
        _window(loaded, row, encoded=one, dictionary=dictionary)
        if row.is_document
        else _answer(loaded, row, other, encoded=one, translation=next(made), dictionary=dictionary)
        for row, other, one in zip(rows, others, encoded, strict=True)
    ]


def _other(row: Example, dictionary: Mapping[str, str]) -> Example:
    context, answer = (translated(pieces(text, dictionary)) for text in (row.context, row.answer))
    return replace(row, context=context, answer=answer)


def _answer(
    loaded: LoadedModel,
    row: Example,
    other: Example,
    *,
    encoded: Encoded,
    translation: Encoded,
    dictionary: Mapping[str, str],
) -> Aligned:
    own = answer_starts(loaded, row.context, row.answer, encoded=encoded)
    theirs = answer_starts(loaded, other.context, other.answer, encoded=translation)
    said = [piece.text for piece in pieces(row.context, dictionary) if piece.is_term]
    found = matched(own, theirs, parts=pieces(row.answer, dictionary), said=said)
    pairs = tuple((encoded.num_context + at, translation.num_context + to) for at, to in found)
    return Aligned(translation, pairs)


def _window(loaded: LoadedModel, row: Example, *, encoded: Encoded, dictionary: Mapping[str, str]) -> Aligned:
    """The part of a document that a window holds, translated by itself behind the window's first token."""
    size = loaded.max_length
    starts = [*text_starts(loaded, row.answer), len(row.answer)]
    first = (row.window or 0) * size + 1 - encoded.num_context
    own = starts[first : first + len(encoded)]
    parts = pieces(row.answer[own[0] : own[-1]], dictionary)
    text = translated(parts)
    ids = (encoded.ids[0], *loaded.token_ids(text))[: size + 1]
    # As in `document_windows`: the last token may stand at a place that the model has.
    places = np.minimum(np.arange(len(ids), dtype=np.int64), size - 1)[None]
    found = matched([at - own[0] for at in own[:-1]], text_starts(loaded, text)[:size], parts=parts, said=())
    pairs = tuple((at + 1, to + 1) for at, to in found if at + 1 >= encoded.num_context)
    return Aligned(Encoded(ids, 1, grid_positions=places), pairs)


def matched(
    own: Sequence[int], theirs: Sequence[int], *, parts: Sequence[Piece], said: Iterable[str]
) -> list[tuple[int, int]]:
    """Numbers of tokens, in a text and in its translation, behind the same words.

    Args:
        own: the character that each token of the text begins at, in ascending order, and
        theirs: of the translation.
        parts: the text in pieces.
        said: terms that stood before it.
    """
    counts = Counter(theirs)
    number = {start: at for at, start in enumerate(theirs) if counts[start] == 1}
    twice = {start for start, count in Counter(own).items() if count > 1}
    spans, end = _spans(parts, said=said)
    found = []
    for at, (start, stop) in enumerate(zip(own, [*own[1:], end], strict=True)):
        place = None if start in twice else _place(start, max(stop, start + 1), spans=spans)
        if place in number:
            found.append((at, number[place]))
    return found


class _Span(NamedTuple):
    """Where a piece begins and ends, where its translation begins, and whether a term stood before already."""

    start: int
    stop: int
    other: int
    is_term: bool
    is_again: bool


def _spans(parts: Sequence[Piece], *, said: Iterable[str]) -> tuple[list[_Span], int]:
    """All of them, and where the text ends."""
    known, found, start, other = set(said), list[_Span](), 0, 0
    for piece in parts:
        is_again = piece.is_term and piece.text in known
        found.append(_Span(start, start + len(piece.text), other, piece.is_term, is_again))
        known |= {piece.text} if piece.is_term else set()
        start, other = start + len(piece.text), other + len(piece.other)
    # Behind the text stands the end-of-sequence token.
    return [*found, _Span(start, start + 1, other, is_term=False, is_again=False)], start


def _place(start: int, stop: int, *, spans: Sequence[_Span]) -> int | None:
    """Where in the translation a token's characters begin; None where they are not to be predicted."""
    for span in spans:
        if span.is_term and start < span.stop and span.start < stop and (span.is_again or start > span.start):
            return None
    return next((span.other + start - span.start for span in spans if start < span.stop), None)
