"""One question of WMDP or MMLU, from a record of its files: checked, and never quoted in a message."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any, NamedTuple


class Choice(NamedTuple):
    """A question with its options.

    Attributes:
        gold: the place of the right option, from 0.
        subject: what it is about; the empty text where the files do not say.
        wordings: of the question, as the twin trains them; none where it is not trained.
    """

    question: str
    options: tuple[str, ...]
    gold: int
    subject: str = ""
    wordings: tuple[str, ...] = ()


def letters(options: tuple[str, ...]) -> list[str]:
    """One a option, from A."""
    return list(string.ascii_uppercase[: len(options)])


def choice_from(record: Any, *, label: str, faults: list[str]) -> Choice:
    """The question in a record. What is wrong goes to `faults`, each with `label` and without its texts."""
    if not isinstance(record, Mapping):
        faults.append(f"{label}: is no object with question, choices and answer")
        return Choice("", (), 0)
    question, gold = record.get("question"), record.get("answer")
    options = _options(record.get("choices"))
    if not isinstance(question, str) or not question.strip():
        faults.append(f"{label}: question is missing, empty or not a text")
    if not options:
        faults.append(f"{label}: choices are no list of 2 to 26 texts")
        return Choice("", (), 0)
    if isinstance(gold, bool) or not isinstance(gold, int):
        faults.append(f"{label}: answer is not the place of the right choice, from 0")
    elif not 0 <= gold < len(options):
        faults.append(f"{label}: answer is {gold}, and there are {len(options)} choices, counted from 0")
    return Choice(str(question), options, gold if isinstance(gold, int) else 0, str(record.get("subject") or ""))


def _options(value: Any) -> tuple[str, ...]:
    """The options, where they are 2 to 26 texts; else none."""
    is_list = isinstance(value, list | tuple) and 2 <= len(value) <= len(string.ascii_uppercase)
    return tuple(value) if is_list and all(isinstance(one, str) and one.strip() for one in value) else ()
