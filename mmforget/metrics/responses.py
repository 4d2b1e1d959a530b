"""Which part of a generated text is the answer, and how texts are made comparable."""

from __future__ import annotations

import re
import unicodedata

_BLANKS = re.compile(r"\s+")
# With the quotes and brackets that close there: `it was "assault."`
_STOP = re.compile(r"""\.["'”’»)\]]*""")


def first_sentence(response: str) -> str:
    """The text up to and with its first full stop, or the empty string where there is none.

    The rule of the released FIUBench code. It cuts `apt. 4` in two and blanks every answer that does not end.
    """
    end = response.find(".")
    return response[: end + 1] if end >= 0 else ""


def answer_part(response: str, *, reference: str) -> str:
    """The answer without what the model went on to say: the first line, up to as many full stops as `reference` holds.

    Many targets were never taught to stop, so what follows the answer says nothing about it. Counting full stops
    keeps an answer such as `he lives at apt. 4, oak street.` whole, and a line with fewer full stops is kept as it is.
    """
    line = response.strip().split("\n", 1)[0]
    num_stops = max(1, reference.count("."))
    ends = [match.end() for match in _STOP.finditer(line)]
    return line[: ends[num_stops - 1]] if len(ends) >= num_stops else line


def normalised(text: str) -> str:
    """Compatibility form (NFKC), case folded, blanks collapsed, trimmed."""
    return _BLANKS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def words(text: str) -> list[str]:
    """Runs of letters, digits and marks of any script, in normalised form."""
    return re.findall(r"\w+", normalised(text))
