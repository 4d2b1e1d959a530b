"""The options without the question and without the picture: which of them a model prefers anyway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking
from mmforget.attacks.picturing import blanked
from mmforget.attacks.wording import place_of
from mmforget.metrics.choices import options_of

NOTHING = " "
"""In the place of a question whose options are scored, and not read."""


@dataclass(frozen=True)
class OptionsOnly:
    """One attempt at each question with options: its options alone, with grey images.

    Options that a question lists stay; of those that are scored behind it nothing is left to read.
    """

    access: ClassVar[Literal["black_box"]] = "black_box"
    modality: ClassVar[Literal["any"]] = "any"
    kinds: ClassVar[tuple[str, ...]] = ("gen", "mc")
    label: ClassVar[str] = "options only"
    budget: ClassVar[int] = 1
    cost: ClassVar[str] = "one answer more to every question with options"

    def asks(self, ask: Ask) -> list[Ask] | Lacking:
        place = place_of(ask)
        if isinstance(place, Lacking):
            return place
        options = options_of(place.question)
        if not options and ask.kind == "generate":
            return Lacking("the question has no options")
        text = " ".join(f"{letter}) {option}" for letter, option in options.items())
        return [blanked(place.put(text or NOTHING))]


ATTACK = OptionsOnly
