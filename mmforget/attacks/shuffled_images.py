"""Every question about the picture of another: what a model says when the picture is there and wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking, Others
from mmforget.attacks.picturing import about_others_pictures


@dataclass(frozen=True)
class ShuffledImages:
    """One attempt at each question: the same with the pictures of a row of the task about another subject.

    Args:
        seed: of the draw, one for each row, the same for all candidates of its answer.
    """

    seed: int = 0

    access: ClassVar[Literal["black_box"]] = "black_box"
    modality: ClassVar[Literal["image"]] = "image"
    knows: ClassVar[Literal["task"]] = "task"
    label: ClassVar[str] = "others' images"
    budget: ClassVar[int] = 1
    cost: ClassVar[str] = "one answer more to every question"

    def asks(self, ask: Ask, others: Others) -> list[Ask] | Lacking:
        found = about_others_pictures(ask, others, seed=self.seed)
        return found if isinstance(found, Lacking) else [found]


ATTACK = ShuffledImages
