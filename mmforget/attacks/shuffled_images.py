"""Every question about the picture of another: what a model says when the picture is there and wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking, Others
from mmforget.attacks.drawing import drawn_by


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
        if not ask.images:
            return Lacking("no picture in the question")
        subject = _subject(ask)
        can = [
            other
            for keys, other in sorted(others.of_pictures.items())
            if len(keys) == len(ask.images) and keys != ask.image_keys and _subject(other) != subject
        ]
        if not can:
            return Lacking("no row of another subject with as many pictures")
        rng = drawn_by(self.seed, "" if ask.row is None else str(ask.row["id"]))
        taken = can[int(rng.integers(len(can)))]
        return [replace(ask, images=taken.images, image_keys=taken.image_keys)]


def _subject(ask: Ask) -> str | None:
    return None if ask.row is None else str(ask.row["subject"])


ATTACK = ShuffledImages
