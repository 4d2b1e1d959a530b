"""The question with what the target model says that its subject is called, too."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking, Others
from mmforget.attacks.replies import Told
from mmforget.attacks.targeting import TargetAttack
from mmforget.attacks.wording import Place, mentions, name_of, place_of, renamed
from mmforget.metrics.refusals import is_refusal

NAMED = ("By what other name is {name} known?", "How else is {name} called?")
SHOWN = ("What is the name of the one in the picture?", "What is the one in the picture called?")
IN_FRONT = "This is about {alias}. "
MAX_WORDS = 8
"""What is longer is a text and no name."""


@dataclass(frozen=True)
class TargetAliases(TargetAttack):
    """Attempts with the names that the target model itself gives when it is asked for another one.

    They stand for the name in the question, or in front of one about a picture. `aliases` has those of the row.
    """

    label: ClassVar[str] = "the target's names"

    def queries(self, ask: Ask, others: Others) -> list[Ask] | Lacking:
        place = place_of(ask)
        if isinstance(place, Lacking):
            return place
        name = name_of(place.facts)
        if name and mentions(place.question, name):
            return [place.about(text.format(name=name), answer="") for text in NAMED[: self.budget]]
        if not ask.images:
            return Lacking("the question neither names its subject nor shows it")
        return [place.about(text, answer="") for text in SHOWN[: self.budget]]

    def ways(self, place: Place, told: Sequence[Told]) -> list[Ask] | Lacking:
        name = name_of(place.facts)
        is_named = bool(name) and mentions(place.question, name)
        aliases = dict.fromkeys(filter(None, (_alias(one.said, place=place, name=name) for one in told)))
        if not aliases:
            return Lacking("the target model gives no other name of its subject")
        if is_named:
            return [place.reworded(renamed(place.question, name, alias)) for alias in aliases]
        return [place.reworded(IN_FRONT.format(alias=alias) + place.question) for alias in aliases]


def _alias(said: str, *, place: Place, name: str) -> str:
    """The name that an answer gives: what it ends with, behind `is`, `as`, `called` or `named`. Empty for none."""
    line = next(iter(said.strip().splitlines()), "")
    found = re.split(r"\b(?:is|as|called|named)\b", line)[-1].strip(" .,!?\"'")
    is_none = not found or len(found.split()) > MAX_WORDS or is_refusal(line) or place.gives_away(found)
    return "" if is_none or (name and mentions(found, name)) else found


ATTACK = TargetAliases
