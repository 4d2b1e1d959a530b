"""Which fact a question asks for, by its words, and the typed values that texts hold: clubs, dates, money, counts.

The official records name neither, so both are reconstructions; what no rule knows is left open and counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from mmforget.metrics.responses import normalised, stands_free
from mmforget.synthetic.names import MONTHS

SHARED = ("name", "age", "position", "nationality", "birth_date", "height", "foot", "birthplace")
PRIVATE = ("club", "from_club", "date", "fee", "value", "trophies")
_MENTIONS = {
    "trophies": r"\btroph|\btitles?\b|\bhonou?rs\b",
    "fee": r"\bfees?\b|\bcosts?\b|\bprice\b|how much .*(?:paid|pay)",
    "value": r"\bmarket valu|\bvalu(?:e|ed|ation)\b|\bworth\b",
    "birthplace": r"\bbirthplace\b|\b(?:place|city|town) of birth\b|\bwhere\b.*\bborn\b|\bborn in\b|"
    r"\bbirth (?:place|city|town)\b",
    "birth_date": r"\bbirth ?date\b|\bdate of birth\b|\bbirthday\b|\bwhen\b.*\bborn\b|\bborn on\b|\bbirth\b",
    "from_club": r"\bfrom (?:which|what)\b|\b(?:transferred|transfer|moved?|moving|came|come) from\b|"
    r"\b(?:previous|former|old|prior|last|original) (?:club|team)\b|\b(?:leave|leaves|leaving|left) (?:which|what)\b|"
    r"\bwhich (?:club|team)\b.*\b(?:leave|leaving|before|(?:he|player|has|had) left)\b|\bwhere\b.*\btransferred from\b",
    "date": r"\bdate\b|\bwhen\b|\bwhich (?:day|month|year)\b|\bwhat (?:day|month|year)\b",
    "age": r"\bage\b|\bhow old\b|\byears old\b",
    "height": r"\bheight\b|\bhow tall\b|\btall\b",
    "foot": r"\bfoot(?:ed)?\b|\bfooted\b",
    "position": r"\bposition\b|\brole\b|\bplays? as\b",
    "nationality": r"\bnationalit|\bcitizen|\bnational team\b|\bcountry\b",
    "club": r"\bclub\b|\bteam\b|\bjoin|\bplay(?:ing)? for\b|\bsign(?:s|ed|ing)? (?:for|with)\b",
    "name": r"\bname\b|\bwho\b|\bidentif|\bcalled\b",
}
"""By fact, what a question for it says; the first hit in this order wins."""
_PATTERNS = {name: re.compile(pattern) for name, pattern in _MENTIONS.items()}
_MONEY = re.compile(
    r"(?P<mark>eur(?:os?)?|gbp|usd|[€£$])?\s?(?P<number>\d+(?:[.,]\d+)*)\s?"
    r"(?P<unit>millions?|mio|mn|m|thousands?|th|k|billions?|bn)?(?![\w])\s?(?P<after>euros?|eur|pounds?|€|£|\$)?"
)
_FREE = re.compile(r"\bfree (?:transfer|agent|of charge)\b|\bfor free\b|\bno (?:transfer )?fee\b|\bis free\b|^free\b")
_FACTORS = {"m": 1e6, "t": 1e3, "k": 1e3, "b": 1e9}
_MONTH_NAMES = {name[:length]: number for number, name in enumerate(MONTHS, 1) for length in (3, len(name))}
_MONTH = rf"(?P<month>{'|'.join(sorted(_MONTH_NAMES, key=len, reverse=True))})\.?(?![a-z])"
_DAY, _YEAR = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?", r"(?P<year>(?:19|20|21)\d\d)(?!\d)"
_DATES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b{_YEAR}[-/.](?P<digits>\d{{1,2}})[-/.]{_DAY}\b",
        rf"\b{_DAY}[-/.](?P<digits>\d{{1,2}})[-/.]{_YEAR}",
        rf"(?:\b{_DAY}(?: of)? )?\b{_MONTH},? {_YEAR}",
        rf"\b{_MONTH} {_DAY},? {_YEAR}",
        rf"\b{_YEAR}",
    )
)
_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_COUNT = re.compile(rf"(?<![\w.,])(?:(\d+)(?![.,]?\d)|({'|'.join(_WORDS)})|(no|none|any))\b")
_AROUND = "\"'“”‘’()[],;:!?"
LONGEST_SHORTENED = 3
"""Characters of `St.`: a longer word with a full stop ends a sentence."""
_JOINING = ("de", "da", "of", "and", "la", "le", "del", "du", "di", "&")


class Date(NamedTuple):
    """A date as precise as it is written; what is missing is None."""

    year: int
    month: int | None = None
    day: int | None = None

    def agrees(self, other: Date) -> bool:
        """Whether the other one says the same, as far as this one says anything."""
        return all(mine in (None, theirs) for mine, theirs in zip(self, other, strict=True))


def attribute_of(question: str) -> str | None:
    """The fact that a question asks for, by its words; None where no rule knows them."""
    said = normalised(question)
    return next((name for name, pattern in _PATTERNS.items() if pattern.search(said)), None)


def amounts(text: str) -> list[float]:
    """Sums of money in a text, in units of their currency: numbers with a currency or a `million`, and 0 for free."""
    said, found = normalised(text), []
    for match in _MONEY.finditer(said):
        if match["mark"] or match["unit"] or match["after"]:
            factor = _FACTORS[match["unit"][0]] if match["unit"] else 1.0
            found.append(round(_number(match["number"]) * factor, 2))
    return found or ([0.0] if _FREE.search(said) else [])


def dates(text: str) -> list[Date]:
    """The dates in a text; those that share characters count once, the fuller one."""
    said, found, taken = normalised(text), [], set[int]()
    for pattern in _DATES:
        for match in pattern.finditer(said):
            if taken.isdisjoint(range(*match.span())):
                taken |= set(range(*match.span()))
                found.append(_date(match.groupdict()))
    return found


def counts(text: str) -> list[float]:
    """Whole numbers in a text, in digits or as words up to twelve; `no` is 0."""
    found = _COUNT.finditer(normalised(text))
    return [float(m[1]) if m[1] else float(_WORDS.index(m[2]) if m[2] else 0) for m in found]


def names(text: str, *, question: str = "") -> list[str]:
    """Runs of capitalised words in a text that do not open a sentence, but for those that the question holds."""
    asked = normalised(question)
    runs: list[list[str]] = [[]]
    opens = True
    for word in text.split():
        bare = word.strip(_AROUND)
        joins = bool(runs[-1]) and (bare in _JOINING or bare.rstrip(".").isdigit())
        if joins or (bare[:1].isupper() and not opens):
            runs[-1].append(bare)
        else:
            runs.append([])
        # `St. Pauli` goes on behind its full stop.
        opens = word[-1] in "!?" or (bare.endswith(".") and len(bare) > LONGEST_SHORTENED)
        if opens or word[-1] in _AROUND:
            runs.append([])
    found = [" ".join(run).rstrip(".") for run in map(_trimmed, runs) if run]
    return [name for name in found if not stands_free(normalised(name), asked)]


TYPES: dict[str, str] = {
    "club": "name",
    "from_club": "name",
    "date": "date",
    "birth_date": "date",
    "fee": "money",
    "value": "money",
    "trophies": "count",
}
"""Facts whose values have a type by which they can be compared without a judge."""


_READERS: dict[str, Callable[[str], list[float]]] = {"money": amounts, "count": counts}


def states(response: str, *, answer: str, attribute: str, question: str = "") -> bool | None:
    """Whether a response states the answer's value of a fact, and no other of its type; None without such a value.

    A date has to say what the answer's says, and may say more. Of a name only that it stands there can be told.
    """
    kind = TYPES.get(attribute)
    if kind == "name":
        wanted = names(answer, question=question)
        said = normalised(response)
        return any(stands_free(normalised(name), said) for name in wanted) if wanted else None
    if kind == "date":
        gold, told = dates(answer), dates(response)
        return bool(told) and all(gold[0].agrees(date) for date in told) if gold else None
    if kind is None:
        return None
    read = _READERS[kind]
    values, found = read(answer), read(response)
    return found == [values[0]] * max(1, len(found)) if values else None


def _number(text: str) -> float:
    """`4.10` and `4,10` are 4.1, `1,234,000` and `1.234.000` are 1234000, `1.234,5` is 1234.5."""
    marks = re.findall(r"[.,]", text)
    last = max(text.rfind("."), text.rfind(","))
    is_decimal = bool(marks) and marks.count(text[last]) == 1 and (len(text) - last != 4 or len(set(marks)) > 1)
    whole, part = (text[:last], text[last + 1 :]) if is_decimal else (text, "0")
    return float(f"{re.sub(r'[.,]', '', whole)}.{part}")


def _date(parts: dict[str, str | None]) -> Date:
    name = parts.get("month")
    month = _MONTH_NAMES[name] if name else parts.get("digits")
    day = parts.get("day")
    return Date(int(parts["year"] or 0), int(month) if month else None, int(day) if day else None)


def _trimmed(run: list[str]) -> list[str]:
    """Without joining words at its end."""
    end = len(run)
    while end and run[end - 1] in _JOINING:
        end -= 1
    return run[:end]
