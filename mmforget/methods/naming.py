"""What the subjects to forget are called, for guards that have to name them or to know them by name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from mmforget.errors import UserError
from mmforget.methods.material import Material, by_subject, few
from mmforget.types import Example

SEPARATOR = ";"
MIN_SHARE = 0.5
"""A run of words is a subject's name where at least this share of its rows has it."""
NAME_SIZE = 2
"""Words of a name that is looked for in texts, at least: one alone may as well begin a sentence."""


def given_names(text: str) -> tuple[str, ...]:
    """The names that somebody typed, separated by semicolons. Raises UserError where one is empty."""
    found = tuple(name.strip() for name in text.split(SEPARATOR)) if text else ()
    if not all(found):
        raise UserError(f"names={text!r} holds an empty name; separate names by one semicolon: names=Ann Lee;Bo Ray")
    return found


def names_of(material: Material) -> dict[str, str]:
    """What each subject of the rows to forget is called, in their order.

    That is the name of its concept, or what its rows say under `extra["name"]`, or the subject itself or the innermost
    part of its path without a digit, underscore or slash, or else the words with capitals that at least half of its
    rows have, at least two of them.

    Raises UserError where a subject has none of these.
    """
    concepts = {concept.name for concept in material.concepts}
    found = {
        subject: subject if subject in concepts else name_in(own)
        for subject, own in by_subject(material.forget).items()
    }
    nameless = {subject: repr(subject) for subject, name in found.items() if not name}
    if nameless:
        raise UserError(
            f"what is to be forgotten has to be named, and nothing says what {len(nameless)} of {len(found)} subjects "
            f"are called ({few(nameless)}); give names=Ann Lee;Bo Ray"
        )
    return {subject: name or subject for subject, name in found.items()}


def name_in(rows: Sequence[Example]) -> str | None:
    """What the rows of one subject call it; None where nothing does."""
    named = next((str(row.extra["name"]) for row in rows if row.extra.get("name")), None)
    if named is not None:
        return named
    labels = (rows[0].subject, *reversed(rows[0].path))
    label = next((one for one in labels if one and not re.search(r"[\d_/]", one)), None)
    if label is not None:
        return label
    counts = Counter(run for row in rows for run in set(_runs(f"{row.context} . {row.answer}")))
    best = max(counts, key=lambda run: (counts[run], len(run), run), default=())
    return " ".join(best) if counts[best] >= MIN_SHARE * len(rows) else None


def _runs(text: str) -> Iterator[tuple[str, ...]]:
    """Every run of words with capitals that stand side by side in a text."""
    words = [re.sub(r"['\u2019]s$", "", word) for word in re.findall(r"[\w'\u2019-]+|[^\w\s]", text)]
    for start in range(len(words)):
        for stop in range(start + 1, len(words) + 1):
            if not words[stop - 1][:1].isupper():
                break
            if stop - start >= NAME_SIZE:
                yield tuple(words[start:stop])
