"""Every picture turned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image

from mmforget.attacks.picturing import GREY, PictureAttack
from mmforget.errors import UserError


@dataclass(frozen=True)
class ImageRotation(PictureAttack):
    """The question about its pictures, turned about their middle, with grey where nothing is.

    Args: those of `PictureAttack`, and
        amount: degrees, against the clock.
    """

    amount: float = 15.0

    label: ClassVar[str] = "turned"

    def __post_init__(self) -> None:
        if not -360 <= self.amount <= 360:
            raise UserError(f"amount={self.amount} is not allowed; give degrees from -360 to 360")

    def changed(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        return image.rotate(self.amount, Image.Resampling.BICUBIC, fillcolor=GREY)


ATTACK = ImageRotation
