"""What attacks have in common that are made of the target model's own answers: what it knew is asked for by its words.

The target is asked once; its answers are kept in the run's folder, and every model is asked what is made of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking, Others
from mmforget.attacks.replies import Told
from mmforget.attacks.wording import Place, place_of, spoken
from mmforget.errors import UserError

MOST = 2


@dataclass(frozen=True)
class TargetAttack(ABC):
    """A subclass says what the target is asked about a row, `queries`, and what becomes of its answers, `ways`.

    Args:
        budget: questions to the target, each of which makes at most one attempt.
    """

    budget: int = MOST

    access: ClassVar[Literal["black_box"]] = "black_box"
    modality: ClassVar[Literal["any"]] = "any"
    kinds: ClassVar[tuple[str, ...]] = ("gen",)
    sets: ClassVar[Literal["forget"]] = "forget"
    knows: ClassVar[Literal["target"]] = "target"
    label: ClassVar[str]
    cost: ClassVar[str] = "as many answers of the target model as the budget, once, and an answer to each"

    def __post_init__(self) -> None:
        if not 1 <= self.budget <= MOST:
            raise UserError(f"budget={self.budget} is not allowed; give 1 to {MOST} questions to the target model")

    @abstractmethod
    def queries(self, ask: Ask, others: Others) -> list[Ask] | Lacking:
        """What the target model is asked, in order."""

    def asks(self, ask: Ask, told: Sequence[Told]) -> list[Ask] | Lacking:
        place = place_of(ask)
        heard = [one._replace(said=spoken(one.said)) for one in told]
        return place if isinstance(place, Lacking) else self.ways(place, heard)

    @abstractmethod
    def ways(self, place: Place, told: Sequence[Told]) -> list[Ask] | Lacking:
        """The attempts, in order, none of which gives the answer away."""
