"""What attacks have in common that change the picture of a question, the same way every time it is asked about."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from PIL import Image

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking, Others
from mmforget.attacks.drawing import drawn_by
from mmforget.results.fingerprint import hash_image

GREY = (128, 128, 128)


class Shown(NamedTuple):
    """A picture, and the hash of its pixels."""

    image: Image.Image
    key: str


@functools.lru_cache(maxsize=16)
def blank(size: tuple[int, int]) -> Shown:
    """Plain grey of `size` (width, height). The same object every time."""
    image = Image.new("RGB", size, GREY)
    return Shown(image, hash_image(image))


def blanked(ask: Ask) -> Ask:
    """The question about grey pictures of the same sizes."""
    blanks = [blank(image.size) for image in ask.images]
    return replace(ask, images=tuple(one.image for one in blanks), image_keys=tuple(one.key for one in blanks))


def about_others_pictures(ask: Ask, others: Others, *, seed: int = 0) -> Ask | Lacking:
    """The question about the pictures of a row of the task about another subject, the same for all its candidates.

    Args:
        seed: of the draw, one for each row.
    """
    if not ask.images:
        return Lacking("no picture in the question")
    subject, name = (None, "") if ask.row is None else (str(ask.row["subject"]), str(ask.row["id"]))
    can = [number for number, row in enumerate(others.told) if str(row["subject"]) != subject]
    for place in drawn_by(seed, name).permutation(len(can)):
        found = ask.showing(others.shown(can[int(place)]))
        if len(found.images) == len(ask.images) and found.image_keys != ask.image_keys:
            return found
    return Lacking("no row of another subject with as many pictures")


@dataclass(frozen=True)
class Seen:
    """A picture that is told from others by its key alone."""

    key: str
    image: Image.Image = field(compare=False, repr=False)


@dataclass(frozen=True)
class PictureAttack(ABC):
    """One attempt at each question, about its pictures as `changed` makes them; a subclass has that and `amount`.

    Args:
        seed: of what is drawn, for each picture anew.
    """

    seed: int = 0

    access: ClassVar[Literal["black_box"]] = "black_box"
    modality: ClassVar[Literal["image"]] = "image"
    kinds: ClassVar[tuple[str, ...]] = ("gen",)
    sets: ClassVar[Literal["forget"]] = "forget"
    label: ClassVar[str]
    budget: ClassVar[int] = 1
    cost: ClassVar[str] = "one answer more to every question, and every picture read again"

    def asks(self, ask: Ask) -> list[Ask] | Lacking:
        if not ask.images:
            return Lacking("no picture in the question")
        return [ask.showing([shown.image for shown in self.shown(ask)])]

    def shown(self, ask: Ask) -> list[Shown]:
        """The question's pictures, changed."""
        return [changed(self, Seen(key, image)) for key, image in zip(ask.image_keys, ask.images, strict=True)]

    @abstractmethod
    def changed(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """The picture as it is shown, of its own size."""


@functools.lru_cache(maxsize=64)
def changed(attack: PictureAttack, seen: Seen) -> Shown:
    """A picture under an attack; the same object every time, so that questions about it share what is read of it."""
    image = attack.changed(seen.image.convert("RGB"), drawn_by(attack.label, attack.seed, seen.key))
    return Shown(image, hash_image(image))


def corner(size: tuple[int, int], part: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Where the upper left of a part of a picture lies, drawn evenly from where it can."""
    left, top = (int(rng.integers(0, whole - own + 1)) for whole, own in zip(size, part, strict=True))
    return left, top


def scaled(size: tuple[int, int], share: float) -> tuple[int, int]:
    """This share of either side, at least one pixel and at most all of it."""
    width, height = (min(side, max(1, round(side * share))) for side in size)
    return width, height
