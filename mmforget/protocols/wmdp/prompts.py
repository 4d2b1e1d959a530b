"""How WMDP's questions are shown, as lm_eval shows them, and what is scored: the letters of the options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mmforget.protocols.wmdp.records import Choice, letters

HEADER = "The following are multiple choice questions (with answers) about {}.\n\n"


def with_options(question: str, *, choice: Choice) -> str:
    """A question with an option a line behind it."""
    lines = (f"{letter}. {text}" for letter, text in zip(letters(choice.options), choice.options, strict=True))
    return "\n".join((question.strip(), *lines))


def shown(doc: Mapping[str, Any]) -> str:
    """What stands before the answer: a `doc_to_text`. Without a subject nothing says what the question is about."""
    about = json.loads(doc["extra"] or "{}").get("about")
    return f"{HEADER.format(about) if about else ''}{doc['question']}\nAnswer:"


def scored(doc: Mapping[str, Any]) -> list[str]:
    """The letters of a row's options: a `doc_to_choice`."""
    return letters(tuple(doc["choices"]))
