"""What there is about one concept: its names, pictures, questions and facts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

_REFUSAL = re.compile(
    r"\b(?:(?:do|can|could|am)(?:n't|not| not)|unable|not (?:sure|able)|no (?:idea|information)|sorry)\b", re.I
)


class Picture(NamedTuple):
    """A picture of a concept: a file, or a view of something that is drawn."""

    name: str
    path: Path | None = None
    look: Any = None
    view: int = 0


class Talk(NamedTuple):
    """A question and its answer, with a keyword of the answer and a picture where there is one.

    `phrase` is the part of the answer that contradicts what the model knows, as official rows give it.
    """

    question: str
    answer: str
    keyword: str = ""
    image: str = ""
    phrase: str = ""


class Prompt(NamedTuple):
    """A question about a picture. `target` is what gives the concept away, as published, stray blanks and all."""

    text: str
    target: str = ""
    answer: str = ""
    image: str = ""
    keyword: str = ""

    @property
    def is_yes_or_no(self) -> bool:
        return self.target.strip().lower().startswith("yes")


@dataclass(frozen=True)
class ConceptRecord:
    """Everything there is about one concept.

    Attributes:
        target: what the released exact match looks for where a question asks for the name.
        unseen, look: a name that nobody has, and a description that clashes with its looks; empty where unknown.
        train, tests: the one picture to forget it by, and those to ask about.
        taught: questions about the training picture and what the model says; what gradient methods unlearn.
        prompts: the main questions. A concept without any can only be kept.
        facts, others: in text alone: what is true of it, and of other concepts.
        queries: questions for membership inference.
        is_kept: not forgotten even where all others are.
    """

    name: str
    synonyms: tuple[str, ...] = ()
    target: str = ""
    unseen: str = ""
    look: str = ""
    train: Picture | None = None
    tests: tuple[Picture, ...] = ()
    taught: tuple[Talk, ...] = ()
    prompts: tuple[Prompt, ...] = ()
    facts: tuple[Talk, ...] = ()
    others: tuple[Talk, ...] = ()
    multilingual: tuple[Prompt, ...] = ()
    multihop: tuple[Prompt, ...] = ()
    queries: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    is_kept: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.synonyms)


def is_refusal(answer: str) -> bool:
    """Whether an answer says that its speaker does not know or will not say."""
    return bool(_REFUSAL.search(answer.replace("\u2019", "'")))
