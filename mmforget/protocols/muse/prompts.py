"""How MUSE asks: a question behind ten examples, or the beginning of a document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

KNOWLEDGE = "knowledge"
"""Value of `extra["ask"]` of a question; any other row is a beginning to be continued."""


def shown(doc: Mapping[str, Any]) -> str:
    """What stands before a row's answer: a `doc_to_text`.

    Behind examples a question ends in a blank, as in the official code; without any it does not.
    """
    extra = json.loads(doc["extra"] or "{}")
    if extra.get("ask") != KNOWLEDGE:
        return str(doc["question"])
    examples = extra.get("examples", "")
    return f"{examples}Question: {doc['question']}\nAnswer:" + (" " if examples else "")


def examples_of(pairs: Iterable[tuple[str, str]]) -> str:
    """Questions with their answers, a blank line behind each."""
    return "".join(f"Question: {question}\nAnswer: {answer}\n\n" for question, answer in pairs)
