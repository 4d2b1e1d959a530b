"""Every image replaced by plain grey of its size: what a model says without having seen anything."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

from PIL import Image

from mmforget.asking import Ask
from mmforget.results.fingerprint import hash_image

GREY = (128, 128, 128)


class Blank(NamedTuple):
    """A grey picture, and the hash of its pixels."""

    image: Image.Image
    key: str


@functools.lru_cache(maxsize=16)
def blank(size: tuple[int, int]) -> Blank:
    """Plain grey of `size` (width, height). The same object every time."""
    image = Image.new("RGB", size, GREY)
    return Blank(image, hash_image(image))


@dataclass(frozen=True)
class BlankImage:
    """One attempt at each question: the same with grey images."""

    access: ClassVar[Literal["black_box"]] = "black_box"
    modality: ClassVar[Literal["image"]] = "image"
    label: ClassVar[str] = "grey images"
    budget: ClassVar[int] = 1
    cost: ClassVar[str] = "one answer more to every question"

    def asks(self, ask: Ask) -> list[Ask]:
        blanks = [blank(image.size) for image in ask.images]
        return [replace(ask, images=tuple(b.image for b in blanks), image_keys=tuple(b.key for b in blanks))]


ATTACK = BlankImage
