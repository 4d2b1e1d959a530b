"""The question with another name of its subject."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking
from mmforget.attacks.wording import Place, WordingAttack, mentions, renamed


@dataclass(frozen=True)
class Aliases(WordingAttack):
    """Attempts with the other names that a row has for its subject (`extra["names"]`).

    RWKU's kind synonym manipulation does so with names and other words.

    Args: those of `WordingAttack`.
    """

    label: ClassVar[str] = "other names"

    def ways(self, place: Place) -> list[Ask] | Lacking:
        names = [str(name) for name in place.facts.extra.get("names") or ()]
        asked = next((name for name in names if mentions(place.question, name)), "")
        if not asked:
            return Lacking("the question does not name its subject as the row does")
        others = [name for name in names if name != asked and not place.gives_away(name)]
        texts = [renamed(place.question, asked, name) for name in others[: self.num_ways]]
        return [place.put(text) for text in texts] or Lacking("no other name of its subject")


ATTACK = Aliases
