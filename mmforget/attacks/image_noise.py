"""Salt and pepper on every picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image

from mmforget.attacks.picturing import PictureAttack
from mmforget.methods.arguments import require_below_one, require_positive


@dataclass(frozen=True)
class ImageNoise(PictureAttack):
    """The question about its pictures with some pixels black or white. UnLOK-VQA (arXiv 2505.01456) has it as easy.

    Args: those of `PictureAttack`, and
        amount: share of the pixels, half of each colour, drawn one by one; above 0 and below 1.
    """

    amount: float = 0.1

    label: ClassVar[str] = "salt and pepper"

    def __post_init__(self) -> None:
        require_positive(amount=self.amount)
        require_below_one(amount=self.amount)

    def changed(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        drawn = rng.random((image.height, image.width))
        pixels = np.array(image)
        pixels[drawn < self.amount / 2] = 0
        pixels[drawn > 1 - self.amount / 2] = 255
        return Image.fromarray(pixels)


ATTACK = ImageNoise
