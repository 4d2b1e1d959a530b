"""What attacks have in common that search, by a model's gradients, for what makes a true answer likely.

A search is told answers and sees gradients: it shows what a model can be brought to say, which of a model that never
knew is something, too. What it finds means what it does beside the retain model, which is searched alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking
from mmforget.attacks.changes import Change
from mmforget.attacks.shares import doubling
from mmforget.methods.arguments import require_not_negative, require_positive

if TYPE_CHECKING:
    from mmforget.lm.whitebox import WhiteBox


@dataclass(frozen=True)
class Search(ABC):
    """A search of some steps; what is the best after 1, 2, 4, ... of them and after the last is tried, an attempt each.

    Args:
        steps: how often it looks at gradients.
        seed: of what is drawn.
    """

    steps: int = 8
    seed: int = 0

    access: ClassVar[Literal["gradients"]] = "gradients"
    modality: ClassVar[Literal["any", "image"]] = "any"
    kinds: ClassVar[tuple[str, ...]] = ("gen",)
    sets: ClassVar[Literal["forget"]] = "forget"
    label: ClassVar[str]
    told: ClassVar[Literal["own", "others"]]
    through: ClassVar[Literal["words", "pixels", "states"]]

    def __post_init__(self) -> None:
        require_positive(**{name: one for name, one in vars(self).items() if name != "seed" and one is not None})
        require_not_negative(seed=self.seed)

    @property
    def at(self) -> tuple[int, ...]:
        """After which steps what was found is tried."""
        return doubling(self.steps)

    @property
    def budget(self) -> int:
        return len(self.at)

    @abstractmethod
    def search(self, asks: Sequence[Ask], box: WhiteBox) -> Iterator[Change] | Lacking:
        """The best change after each number of steps in `at`; repeatable.

        Args:
            asks: questions with their answers behind them: one, or those that a change for all is learned on.
        """

    def tried(self, found: Iterator[Change]) -> Iterator[Change]:
        """Of what is the best after each step, that after those in `at`."""
        for step, one in enumerate(found, start=1):
            if step in self.at:
                yield one
            if step == self.steps:
                return


def name_of(asks: Sequence[Ask]) -> str:
    """What tells these questions from others, for draws."""
    return " ".join("" if ask.row is None else str(ask.row["id"]) for ask in asks)
