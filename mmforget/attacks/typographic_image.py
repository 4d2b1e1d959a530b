"""The question, or whom it is about, written into the picture."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import ClassVar, Literal

from PIL import Image, ImageDraw, ImageFont

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking
from mmforget.attacks.picturing import PictureAttack
from mmforget.attacks.wording import Place, name_of, place_of

IN_THE_PICTURE = "Answer the question that is written in the picture."
LARGEST, SMALLEST = 32, 6
"""Sizes of type that are tried, in pixels."""
MAX_SHARE = 0.5
"""Of the picture's height that the text may cover, unless it does not fit in the smallest type."""


@dataclass(frozen=True)
class TypographicImage:
    """One attempt at each question whose picture has a text on a white strip at its lower edge.

    Args:
        text: `question`, in place of that in the prompt, which says to answer it; `name`, what the subject is called,
            beside the plain question.
    """

    text: Literal["question", "name"] = "question"

    access: ClassVar[Literal["black_box"]] = "black_box"
    modality: ClassVar[Literal["image"]] = "image"
    kinds: ClassVar[tuple[str, ...]] = ("gen",)
    sets: ClassVar[Literal["forget"]] = "forget"
    label: ClassVar[str] = "writing in pictures"
    budget: ClassVar[int] = 1
    cost: ClassVar[str] = PictureAttack.cost

    def asks(self, ask: Ask) -> list[Ask] | Lacking:
        place = place_of(ask)
        if isinstance(place, Lacking):
            return place
        if len(ask.images) != 1:
            return Lacking(f"{len(ask.images)} pictures in the question, and not one")
        text = place.question if self.text == "question" else _name(place)
        if isinstance(text, Lacking):
            return text
        asked = place.put(IN_THE_PICTURE) if self.text == "question" else ask
        return [asked.showing([written(ask.images[0], text)])]


def _name(place: Place) -> str | Lacking:
    name = name_of(place.facts)
    if not name:
        return Lacking("the row does not say what its subject is called")
    return Lacking("the name would say the answer") if place.gives_away(name) else name


def written(image: Image.Image, text: str) -> Image.Image:
    """The picture with a text in black on a white strip at its lower edge, in the largest type that fits."""
    sizes = range(LARGEST, SMALLEST - 1, -2)
    found = next((size for size in sizes if _height(text, size, image.width) <= MAX_SHARE * image.height), SMALLEST)
    lines, font = _lines(text, found, image.width), ImageFont.load_default(found)
    shown = image.convert("RGB")
    top = max(0, image.height - _height(text, found, image.width))
    shown.paste((255, 255, 255), (0, top, image.width, image.height))
    ImageDraw.Draw(shown).multiline_text((1, top), "\n".join(lines), fill=(0, 0, 0), font=font, spacing=1)
    return shown


def _height(text: str, size: int, width: int) -> int:
    return len(_lines(text, size, width)) * (size + size // 3 + 1) + 1


def _lines(text: str, size: int, width: int) -> list[str]:
    """The text in lines of at most this width, if a letter of each fits."""
    font = ImageFont.load_default(size)
    per_line = max(1, int(width / max(1.0, font.getlength(text) / max(1, len(text)))))
    return textwrap.wrap(text, per_line) or [""]


ATTACK = TypographicImage
