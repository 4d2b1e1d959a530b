"""A grey patch on every picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image

from mmforget.attacks.picturing import GREY, PictureAttack, corner, scaled
from mmforget.methods.arguments import require_below_one, require_positive


@dataclass(frozen=True)
class ImageOcclusion(PictureAttack):
    """The question about its pictures with a part hidden.

    Args: those of `PictureAttack`, and
        amount: share of either side that the patch covers, somewhere; above 0 and below 1.
    """

    amount: float = 0.4

    label: ClassVar[str] = "partly hidden"

    def __post_init__(self) -> None:
        require_positive(amount=self.amount)
        require_below_one(amount=self.amount)

    def changed(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        patch = scaled(image.size, self.amount)
        hidden = image.copy()
        hidden.paste(GREY, (*(at := corner(image.size, patch, rng)), at[0] + patch[0], at[1] + patch[1]))
        return hidden


ATTACK = ImageOcclusion
