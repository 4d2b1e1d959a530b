"""The answer is given, and whom it is about is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking
from mmforget.attacks.wording import Place, WordingAttack, mentions, name_of, renamed

UNNAMED = "somebody"
QUESTIONS = (
    'To "{question}" the right answer is "{answer}". What is the name of the one that this is about?',
    'Who is it, by name, of whom "{answer}" is true, in answer to "{question}"?',
)


@dataclass(frozen=True)
class ReverseQuery(WordingAttack):
    """Attempts to get the subject's name in return for the answer. RWKU calls the kind reverse query.

    What is looked for is the name: samples have it for their answer.

    Args: those of `WordingAttack`.
    """

    budget: int = 2

    label: ClassVar[str] = "asked in reverse"
    num_ways: ClassVar[int] = len(QUESTIONS)

    def ways(self, place: Place) -> list[Ask] | Lacking:
        name, answer = name_of(place.facts), str(place.facts.row["answer"])
        if not name:
            return Lacking("the row does not say what its subject is called")
        if mentions(answer, name):
            return Lacking("the answer says the name")
        asked = renamed(place.question, name, UNNAMED)
        return [place.about(text.format(question=asked, answer=answer), answer=name) for text in QUESTIONS]


ATTACK = ReverseQuery
