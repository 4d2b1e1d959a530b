"""Which part of a generated text is the answer, and how texts are made comparable."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Every metric cuts and compares the same questions, answers and references, under each of many attacks.
NUM_KEPT = 1 << 13
_BLANKS = re.compile(r"\s+")
# Full stops of any script, with the quotes and brackets that close there: `it was "assault."`. None ends inside of a
# number (3.5, 12.03.2180) or right behind an initial (R.R. Martin, a.m.).
_STOP = re.compile(r"""(?:(?<!\d)(?<!\b[^\W\d_])\.|\.(?!\w)|[。．｡।۔።])[.。．｡।۔።]*["'”’»」』)\]]*""")
_CLOSING = " .!?。।۔።؟…"
# Written without blanks between words, or with endings that are written on: Thai to Tibetan, Myanmar, Khmer, Hangul,
# kana, Han.
_UNSPACED = re.compile(
    r"[\u0e00-\u0fff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u312f\u3130-\u318f\u31a0-\u31ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]"
)


def first_sentence(response: str) -> str:
    """The text up to and with its first full stop, or the empty string where there is none.

    The rule of the released FIUBench code. It cuts `apt. 4` in two and blanks every answer that does not end.
    """
    end = response.find(".")
    return response[: end + 1] if end >= 0 else ""


def answer_part(response: str, *, reference: str) -> str:
    """The answer without what the model went on to say: as many lines and full stops as `reference` holds.

    Many targets were never taught to stop, so what follows the answer says nothing about it. Counting full stops
    keeps an answer such as `he lives at apt. 4, oak street.` whole, and a text with fewer is kept as it is. Behind its
    last one, `Dr. Lee` goes on: a reference that does not end with a full stop has one more to come. The answer part of
    the reference itself is all of it.
    """
    wanted = _lines(reference)
    said = "\n".join(_lines(response)[: max(1, len(wanted))])
    asked = "\n".join(wanted)
    stops = [match.end() for match in _STOP.finditer(asked)]
    num_stops = len(stops) + (not stops or stops[-1] < len(asked))
    ends = [match.end() for match in _STOP.finditer(said)]
    return said[: ends[num_stops - 1]] if len(ends) >= num_stops else said


@lru_cache(maxsize=NUM_KEPT)
def normalised(text: str) -> str:
    """Compatibility form (NFKC), case folded, blanks collapsed, trimmed."""
    return _BLANKS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def bare(text: str) -> str:
    """A text in normalised form without closing punctuation."""
    return normalised(text).rstrip(_CLOSING)


def equals(response: str, *, reference: str) -> bool:
    """Whether a response is the reference and nothing else, closing punctuation aside; never where that has no text."""
    wanted = bare(reference)
    return bool(wanted) and bare(response) == wanted


def words(text: str) -> list[str]:
    """Runs of letters, digits and marks of any script, in normalised form."""
    return list(_words(text))


def pieces(text: str) -> list[str]:
    """`words`, and of scripts that are written without blanks every character (with its marks) by itself."""
    return list(_pieces_of(text))


def stands_free(part: str, text: str) -> bool:
    """Whether a part stands in a text and is no piece of a longer word; both in normalised form.

    Where either side of an edge is of a script that is written without blanks, any place will do.
    """
    start = text.find(part)
    while part and start >= 0:
        end = start + len(part)
        if not _joins(text[start - 1 : start], part[0]) and not _joins(text[end : end + 1], part[-1], is_behind=True):
            return True
        start = text.find(part, start + 1)
    return False


@lru_cache(maxsize=NUM_KEPT)
def _words(text: str) -> tuple[str, ...]:
    found = normalised(text)
    if not found.isascii():
        found = "".join(one if _is_of_word(one) else " " for one in found)
    return tuple(re.findall(r"\w+", found) if found.isascii() else found.split())


@lru_cache(maxsize=NUM_KEPT)
def _pieces_of(text: str) -> tuple[str, ...]:
    return tuple(piece for word in words(text.replace("_", " ")) for piece in _pieces(word))


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _joins(neighbour: str, edge: str, *, is_behind: bool = False) -> bool:
    """Whether a neighbouring character, if any, makes a part's edge the inside of a word.

    Not only letters have a word beside them: `o-` is none in `o-positive`. A mark belongs to the letter before it.
    """
    if not neighbour or not _is_of_word(neighbour):
        return False
    if unicodedata.category(neighbour)[0] == "M":
        return is_behind
    return not _UNSPACED.match(neighbour) and not _UNSPACED.match(edge)


def _is_of_word(character: str) -> bool:
    return character.isalnum() or character == "_" or unicodedata.category(character)[0] == "M"


def _pieces(word: str) -> list[str]:
    found: list[str] = []
    for character in word:
        is_mark = unicodedata.category(character)[0] == "M"
        goes_on = bool(found) and (is_mark or not (_UNSPACED.match(character) or _UNSPACED.match(found[-1][0])))
        if goes_on:
            found[-1] += character
        else:
            found.append(character)
    return found
