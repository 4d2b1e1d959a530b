"""How RWKU asks, by what `extra["ask"]` of a row says: `doc_to_text` of all its tasks.

Behind each stands the beginning of the answer, `extra["begins"]`, which the tasks name as `gen_prefix`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

BRIEFLY = "Please briefly answer the following question.\n"
ANSWER, SHORT = "Answer:", "A:"
BEGINS = {"blank": ANSWER, "question": ANSWER, "examples": ANSWER, "letters": ANSWER} | dict.fromkeys(
    ("reason", "truth", "trivia"), SHORT
)
"""What the answer's turn begins with, by how is asked; nothing for any other."""
LETTERS = "ABCDEFGHIJ"


def _blank(question: str, extra: Mapping[str, Any]) -> str:
    return f"Please complete the blank in the following question.\nQuestion: {question}\n"


def _question(question: str, extra: Mapping[str, Any]) -> str:
    return f"{BRIEFLY}Question: {question}\n"


def _suffix(question: str, extra: Mapping[str, Any]) -> str:
    # The question itself ends in the beginning of an answer, so nothing stands behind it.
    return f"{BRIEFLY}Question: {question}"


def _examples(question: str, extra: Mapping[str, Any]) -> str:
    return f"{BRIEFLY}{question}\n"


def _letters(question: str, extra: Mapping[str, Any]) -> str:
    return f"{extra.get('lead', '')}{with_options(question, extra['options'])}"


def _reason(question: str, extra: Mapping[str, Any]) -> str:
    lead = str(extra.get("lead", "")).strip()
    told = "Following previous examples, answer the following questions and end with 'so the answer is'\n"
    return (f"{lead}\n\n{told}" if lead else "") + f"Q: {question}"


def _truth(question: str, extra: Mapping[str, Any]) -> str:
    return f"Q: {question}"


def _trivia(question: str, extra: Mapping[str, Any]) -> str:
    return f"Please briefly answer the following question:\nQ: {question}\n"


def _instruction(question: str, extra: Mapping[str, Any]) -> str:
    return f"Instruction: {question}\n"


def _as_it_is(question: str, extra: Mapping[str, Any]) -> str:
    return question


SHOWN: Mapping[str, Callable[[str, Mapping[str, Any]], str]] = {
    "blank": _blank,
    "question": _question,
    "suffix": _suffix,
    "examples": _examples,
    "letters": _letters,
    "reason": _reason,
    "truth": _truth,
    "trivia": _trivia,
    "instruction": _instruction,
    "biography": _as_it_is,
}


def asked(doc: Mapping[str, Any]) -> str:
    """The context of a row; nothing of a document."""
    extra = json.loads(doc.get("extra") or "{}")
    return SHOWN[extra["ask"]](doc["question"], extra) if extra.get("ask") else ""


def options(doc: Mapping[str, Any]) -> list[str]:
    """What is scored of a row with choices: letters where the options stand in the question, else the options."""
    extra = json.loads(doc.get("extra") or "{}")
    return list(LETTERS[: len(doc["choices"])]) if extra.get("ask") == "letters" else list(doc["choices"])


def with_options(question: str, choices: Sequence[str]) -> str:
    """A question with a lettered line for each option, as in MMLU."""
    lines = [f"{letter}. {text}" for letter, text in zip(LETTERS, choices, strict=False)]
    return "\n".join([f"Question: {question}", *lines])
