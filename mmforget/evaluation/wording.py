"""Whether a text puts words together as others do: nonsense made of words has hardly a pair that anybody else has."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mmforget.metrics.responses import words

Pair = tuple[str, str]

MIN_WORDS = 4
"""Of a text that is looked at: a shorter one, such as a name that nobody else says, may be an answer."""
_COMMON_TEXT = """
of the, in the, to the, on the, for the, at the, with the, from the, by the, and the, is the, is a, was a, was the,
it is, this is, that is, there is, i am, i do, do not, i cannot, i have, he is, she is, he was, she was, they are,
to be, as a, in a, of a, with a, for a, is not, are not, not know, who is, name of, one of, such as, part of, the name,
the person, the image, the picture, a man, a woman, has been, have been, can be, will be, known as, known for, born in,
does not, did not, seems to, appears to, i don, don t, it s, i m, and is, and was, which is, that the, if you, you can,
may be, as the, a person, in this, of this, about the, not able, able to, as far, far as, as i, i know, i think,
i believe, might be, could be, looks like, like a, based on, not sure, sure who, it looks, would be, there are
"""
_COMMON: frozenset[Pair] = frozenset(
    (first, second) for first, second in (pair.split() for pair in _COMMON_TEXT.split(","))
)
"""Pairs of words that are in most English texts, however few others there are to compare with."""


def word_pairs(texts: Iterable[str]) -> set[Pair]:
    """The pairs of neighbouring words in texts."""
    return {pair for text in texts for pair in _pairs(text)}


def pairs_of(texts: Iterable[str]) -> set[Pair]:
    """The pairs of neighbouring words in texts, with the commonest of English."""
    return word_pairs(texts) | _COMMON


def familiar_share(texts: Iterable[str], *, known: Collection[Pair]) -> float | None:
    """Share of the pairs of neighbouring words of all texts that are known; None where there are none."""
    found = [pair in known for text in texts for pair in _pairs(text)]
    return sum(found) / len(found) if found else None


def _pairs(text: str) -> list[Pair]:
    said = words(text)
    return list(zip(said, said[1:], strict=False))
