"""What attacks have in common that put a question in other words and take the likeliest answer to each.

An attempt leaves pictures and decoding as they are, and never says the answer: a row whose own words would is left out.
The wordings are ours; RWKU's (arXiv 2406.10890), whose kinds of attacks these follow, are rows of its own benchmark.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking, Others
from mmforget.attacks.rephrasing import PLACEHOLDER, Facts, divided, in_front
from mmforget.errors import UserError
from mmforget.metrics.disclosure import share_of, unsaid
from mmforget.metrics.responses import bare, normalised, stands_free

FIRST_HOP = 'Somebody was asked "{question}", and the right answer was "{answer}". '
"""In front of a question that says by another question and its answer whom it means."""
UNNAMED, MEANT = "this one", "the one that this is about"
"""In place of a name: in the first question, and in the second."""
MAX_SHARE = 0.5
"""Of an answer's own words, how many another text may say before it counts as giving the answer away."""


class Place(NamedTuple):
    """Where a question stands in its prompt.

    Attributes:
        ask: the question as the benchmark asks it.
        facts: its row.
        head, question, tail: the prompt's text: before the question, itself, and behind it.
    """

    ask: Ask
    facts: Facts
    head: str
    question: str
    tail: str

    def put(self, question: str = "", *, front: str = "", end: str = "") -> Ask:
        """The prompt with another question, something in front of all, or the beginning of a reply at its end."""
        start, rest = in_front(self.head)
        context = f"{start}{front}{rest}{question or self.question}{self.tail}"
        gap = " " if end and not context[-1:].isspace() else ""
        return replace(self.ask, context=f"{context}{gap}{end}")

    def about(self, question: str, *, answer: str, keywords: Sequence[str] = ()) -> Ask:
        """Another question in the place of this one, with an answer of its own."""
        row = {**self.facts.row, "question": question, "answer": answer, "keywords": list(keywords)}
        return replace(self.put(question), row=row)

    def reworded(self, question: str) -> Ask:
        """The row's own question in other words, which samples keep."""
        row = self.facts.row
        return self.about(question, answer=str(row["answer"]), keywords=list(row.get("keywords") or ()))

    def gives_away(self, text: str) -> bool:
        """Whether a text says the row's answer, or more than half of what its question does not say of it."""
        answer, said = str(self.facts.row["answer"]), normalised(text)
        wanted = [bare(answer), *map(normalised, self.facts.row.get("keywords") or ())]
        if any(stands_free(one, said) for one in wanted):
            return True
        own = unsaid(answer, question=self.question)
        return bool(own) and share_of(own, response=text) > MAX_SHARE


@dataclass(frozen=True)
class WordingAttack(ABC):
    """One attempt for each way to put a question; a subclass says in which, `ways`.

    Args:
        budget: how many of the ways are tried, in their order.
    """

    budget: int = 4

    access: ClassVar[Literal["black_box"]] = "black_box"
    modality: ClassVar[Literal["any"]] = "any"
    kinds: ClassVar[tuple[str, ...]] = ("gen",)
    sets: ClassVar[Literal["forget"]] = "forget"
    label: ClassVar[str]
    cost: ClassVar[str] = "one answer to each wording, at most as many as the budget"
    num_ways: ClassVar[int] = 4

    def __post_init__(self) -> None:
        if not 1 <= self.budget <= self.num_ways:
            raise UserError(
                f"budget={self.budget} is not allowed; it asks in {self.num_ways} ways, give 1 to {self.num_ways}"
            )

    def asks(self, ask: Ask) -> list[Ask] | Lacking:
        place = place_of(ask)
        found = place if isinstance(place, Lacking) else self.ways(place)
        return found if isinstance(found, Lacking) else found[: self.budget]

    @abstractmethod
    def ways(self, place: Place) -> list[Ask] | Lacking:
        """The question in other words, in order; at most `num_ways`."""


class Fact(NamedTuple):
    """Another row's question and answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class KnowingAttack(ABC):
    """Attempts with the help of what the task asks and answers about the same subject; a subclass says how, `ways`.

    What it says was to be forgotten, too: it measures what somebody gets who knows part of it.
    """

    access: ClassVar[Literal["black_box"]] = "black_box"
    modality: ClassVar[Literal["any"]] = "any"
    kinds: ClassVar[tuple[str, ...]] = ("gen",)
    sets: ClassVar[Literal["forget"]] = "forget"
    knows: ClassVar[Literal["task"]] = "task"
    label: ClassVar[str]
    budget: ClassVar[int] = 1
    cost: ClassVar[str] = "one answer behind a longer prompt"

    def asks(self, ask: Ask, others: Others) -> list[Ask] | Lacking:
        place = place_of(ask)
        if isinstance(place, Lacking):
            return place
        known = known_of(place, others)
        return known if isinstance(known, Lacking) else self.ways(place, known)

    @abstractmethod
    def ways(self, place: Place, known: Sequence[Fact]) -> list[Ask] | Lacking:
        """The attempts, in order; `known` is never empty."""


def place_of(ask: Ask) -> Place | Lacking:
    """Where the row's question stands in a prompt, the last time if several."""
    parts = divided(ask)
    return parts if isinstance(parts, Lacking) else Place(ask, *parts)


def name_of(facts: Facts) -> str:
    """What the row's subject is called; empty where the row does not say.

    That is `extra["name"]`, the first of `extra["names"]`, or the subject where the question speaks of it.
    """
    names: Sequence[str] = facts.extra.get("names") or ()
    given = facts.extra.get("name") or (names[0] if names else "")
    subject = str(facts.row["subject"])
    return str(given) or (subject if mentions(str(facts.row["question"]), subject) else "")


def mentions(text: str, name: str) -> bool:
    """Whether a text speaks of a name, whatever the case."""
    return stands_free(normalised(name), normalised(text))


def spoken(text: str) -> str:
    """What a model said, for a prompt: it makes no place for a picture there."""
    return text.replace(PLACEHOLDER, "")


def renamed(text: str, name: str, other: str) -> str:
    """A text with every mention of a name replaced, whatever the case."""
    return re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", lambda _: other, text, flags=re.IGNORECASE)


def known_of(place: Place, others: Others) -> list[Fact] | Lacking:
    """What the task asks and answers about the same subject, each once, without what would say this row's answer."""
    row = place.facts.row
    found: dict[Fact, None] = {}
    for other in others.of_subject.get(str(row["subject"]), ()):
        fact = Fact(str(other["question"]), str(other["answer"]))
        if str(other["id"]) != str(row["id"]) and not place.gives_away(f"{fact.question} {fact.answer}"):
            found[fact] = None
    return list(found) or Lacking("no other row of its subject that does not say the answer")
