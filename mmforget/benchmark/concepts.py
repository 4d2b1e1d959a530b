"""Benchmarks that forget a concept by its looks: what there is about one concept, and what its texts tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

_LETTERS = "0-9A-Za-z\u00c0-\u024f"
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


def mentions(text: str, *, names: Sequence[str]) -> bool:
    """Whether any of the names stands in the text, in any case, free of Latin letters and digits on both sides."""
    return any(re.search(_free(name), text, re.I) for name in names if name)


class Spans(NamedTuple):
    """Where names stand in a text.

    Attributes:
        starts: beginnings of the text that end before or behind a name.
        spans: for each name in it, the index in `starts` of the beginning before it (-1 where the name comes first) and
            of the one that ends with it.
    """

    starts: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]


def spans_of(text: str, *, names: Sequence[str]) -> Spans:
    """Every place where `mentions` finds a name; of names that begin alike the longest.

    Scored beside the text, its beginnings tell which of its tokens are a name's, whatever the tokenizer.
    """
    pattern = "|".join(map(_free, sorted(names, key=len, reverse=True)))
    starts: list[str] = []
    spans: list[tuple[int, int]] = []
    for found in re.finditer(pattern, text, re.I):
        before, through = text[: found.start()].rstrip(), text[: found.end()]
        spans.append((len(starts), len(starts) + 1) if before else (-1, len(starts)))
        starts += [before, through] if before else [through]
    return Spans(tuple(starts), tuple(spans))


def about_another(question: str, *, name: str, other: str) -> str:
    """A yes/no question about another concept; one that does not name its own is asked outright."""
    asked, count = re.subn(_free(name), lambda _: other, question, flags=re.I)
    return asked if count else f"Is this {other}?"


def _free(name: str) -> str:
    """A pattern for a name that is no part of a longer word; scripts that write no blanks may stand right beside it."""
    return rf"(?<![{_LETTERS}]){re.escape(name)}(?![{_LETTERS}])"
