"""The question in other languages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking
from mmforget.attacks.wording import Place, WordingAttack


@dataclass(frozen=True)
class Multilingual(WordingAttack):
    """Attempts in the languages that a row has its question in (`extra["translations"]`, by language).

    The answer is looked for as it is written in the row. RWKU calls the kind cross lingual.

    Args: those of `WordingAttack`.
    """

    label: ClassVar[str] = "other languages"

    def ways(self, place: Place) -> list[Ask] | Lacking:
        given = place.facts.extra.get("translations") or {}
        texts = [str(text) for _, text in sorted(given.items()) if text][: self.num_ways]
        return [place.put(text) for text in texts] or Lacking("no translation of the question")


ATTACK = Multilingual
