"""The question behind what else is known about its subject."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mmforget.asking import Ask
from mmforget.attacks.wording import Fact, KnowingAttack, Place
from mmforget.methods.arguments import require_positive


@dataclass(frozen=True)
class BackgroundHint(KnowingAttack):
    """One attempt at each question behind answers about its subject. RWKU calls the kind background hint.

    Args:
        hints: other answers that are told, the first ones of the subject.
    """

    hints: int = 3

    label: ClassVar[str] = "background hint"

    def __post_init__(self) -> None:
        require_positive(hints=self.hints)

    def ways(self, place: Place, known: Sequence[Fact]) -> list[Ask]:
        told = " ".join(fact.answer for fact in known[: self.hints])
        return [place.put(front=f"This much is known already: {told} ")]


ATTACK = BackgroundHint
