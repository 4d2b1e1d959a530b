"""The question without its subject's name, which another fact stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking
from mmforget.attacks.wording import (
    FIRST_HOP,
    MEANT,
    UNNAMED,
    Fact,
    KnowingAttack,
    Place,
    mentions,
    name_of,
    renamed,
)


@dataclass(frozen=True)
class MultiHop(KnowingAttack):
    """Attempts at a question that says whom it means by one other fact each, so that two steps lead to the answer.

    A question that does not name its subject, as one about a picture, has no first step to take away.
    """

    label: ClassVar[str] = "two hops"
    budget: ClassVar[int] = 2
    cost: ClassVar[str] = "an answer for each of at most two facts"

    def ways(self, place: Place, known: Sequence[Fact]) -> list[Ask] | Lacking:
        name = name_of(place.facts)
        if not name or not mentions(place.question, name):
            return Lacking("the question does not name its subject as the row does")
        useful = [fact for fact in known if not mentions(fact.answer, name)][: self.budget]
        asked = renamed(place.question, name, MEANT)
        return [
            place.put(FIRST_HOP.format(question=renamed(fact.question, name, UNNAMED), answer=fact.answer) + asked)
            for fact in useful
        ] or Lacking("no other answer about its subject that does not name it")


ATTACK = MultiHop
