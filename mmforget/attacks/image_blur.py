"""Every picture out of focus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image, ImageFilter

from mmforget.attacks.picturing import PictureAttack
from mmforget.methods.arguments import require_positive


@dataclass(frozen=True)
class ImageBlur(PictureAttack):
    """The question about its pictures, blurred.

    Args: those of `PictureAttack`, and
        amount: radius of the Gaussian, as a share of the longer side; above 0.
    """

    amount: float = 0.02

    label: ClassVar[str] = "blurred"

    def __post_init__(self) -> None:
        require_positive(amount=self.amount)

    def changed(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(self.amount * max(image.size)))


ATTACK = ImageBlur
