"""Every picture darker or brighter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image, ImageEnhance

from mmforget.attacks.picturing import PictureAttack
from mmforget.methods.arguments import require_not_negative


@dataclass(frozen=True)
class ImageBrightness(PictureAttack):
    """The question about its pictures in another light.

    Args: those of `PictureAttack`, and
        amount: what every channel is multiplied by, 1 for no change; 0 or above, and cut off at white.
    """

    amount: float = 0.5

    label: ClassVar[str] = "other light"

    def __post_init__(self) -> None:
        require_not_negative(amount=self.amount)

    def changed(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        return ImageEnhance.Brightness(image).enhance(self.amount)


ATTACK = ImageBrightness
