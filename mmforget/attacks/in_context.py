"""The question behind others about the same subject, with their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mmforget.asking import Ask
from mmforget.attacks.wording import Fact, KnowingAttack, Place
from mmforget.methods.arguments import require_positive


@dataclass(frozen=True)
class InContext(KnowingAttack):
    """One attempt at each question behind examples about its subject. RWKU calls the kind in-context learning.

    Args:
        shots: questions with their answers, the first ones of the subject.
    """

    shots: int = 2

    label: ClassVar[str] = "in context"

    def __post_init__(self) -> None:
        require_positive(shots=self.shots)

    def ways(self, place: Place, known: Sequence[Fact]) -> list[Ask]:
        shown = [f"Question: {fact.question}\nAnswer: {fact.answer}\n" for fact in known[: self.shots]]
        return [place.put(front="".join(shown))]


ATTACK = InContext
