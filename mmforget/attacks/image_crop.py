"""A part of every picture, at its full size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image

from mmforget.attacks.picturing import PictureAttack, corner, scaled
from mmforget.methods.arguments import require_below_one, require_positive


@dataclass(frozen=True)
class ImageCrop(PictureAttack):
    """The question about a part of its pictures, enlarged to what they were.

    Args: those of `PictureAttack`, and
        amount: share of either side that is cut off, in all; above 0 and below 1.
    """

    amount: float = 0.2

    label: ClassVar[str] = "cropped"

    def __post_init__(self) -> None:
        require_positive(amount=self.amount)
        require_below_one(amount=self.amount)

    def changed(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        part = scaled(image.size, 1 - self.amount)
        left, top = corner(image.size, part, rng)
        box = (left, top, left + part[0], top + part[1])
        return image.resize(image.size, Image.Resampling.BICUBIC, box=box)


ATTACK = ImageCrop
