"""A patch on the picture, searched by gradients for each question until the true answer is likely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from mmforget.attacks.changes import Pixels
from mmforget.attacks.picturing import scaled
from mmforget.attacks.pixel_search import Floats, PixelSearch
from mmforget.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

GREY = 128


@dataclass(frozen=True)
class AdversarialPatch(PixelSearch):
    """For each question a square of its own in the lower right corner, grey at first. It is told the answer.

    Source: projected gradient steps on a patch, the search of UnlearnDiffAtk (which looks for words) carried over to
    pictures and to models that answer; sizes and steps are ours.

    Args:
        side: of the patch, a share of the picture's sides, above 0 and at most 1.
        stride: as of `PixelSearch`.
    """

    stride: int = 32
    side: float = 0.25

    label: ClassVar[str] = "adversarial patch"
    told: ClassVar[Literal["own"]] = "own"
    cost: ClassVar[str] = (
        "for every question as many passes as steps, forwards and backwards, tower included, and answers"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.side > 1:
            raise UserError(f"side={self.side} is more than the picture; give a share above 0 and at most 1")

    def first(self, picture: Image.Image) -> Pixels:
        width, height = scaled(picture.size, self.side)
        levels = np.full((height, width, 3), GREY, dtype=np.int16)
        return Pixels.of(levels, corner=(picture.width - width, picture.height - height), adds=False)

    def bounded(self, levels: Floats) -> Floats:
        found: Floats = levels.clip(0, 255)
        return found


ATTACK = AdversarialPatch
