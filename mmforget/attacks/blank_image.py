"""Every image replaced by plain grey of its size: what a model says without having seen anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from mmforget.asking import Ask
from mmforget.attacks.picturing import blanked


@dataclass(frozen=True)
class BlankImage:
    """One attempt at each question: the same with grey images."""

    access: ClassVar[Literal["black_box"]] = "black_box"
    modality: ClassVar[Literal["image"]] = "image"
    label: ClassVar[str] = "grey images"
    budget: ClassVar[int] = 1
    cost: ClassVar[str] = "one answer more to every question"

    def asks(self, ask: Ask) -> list[Ask]:
        return [blanked(ask)]


ATTACK = BlankImage
