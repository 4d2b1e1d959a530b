"""One faint pattern on every picture, searched by gradients on some subjects and tried on the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from mmforget.attacks.changes import Pixels
from mmforget.attacks.pixel_search import Floats, PixelSearch

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class UniversalImage(PixelSearch):
    """The pattern is added to every picture, level by level. It is told the answers of the rows that it learns on;
    those and all of their subjects take no part.

    Source: the universal perturbation of open-mmunlearning (SUA): 500 steps of one level, at most 12, six rows at a
    time; the denoiser that it looks through, whose weights are not released, is left out.

    Args:
        radius: by how many grey levels of 0 to 255 a pixel may change.
        rows: that it learns on, of at most half of the subjects.
        stride: as of `PixelSearch`.
    """

    radius: int = 12
    rows: int = 16

    label: ClassVar[str] = "universal perturbation"
    told: ClassVar[Literal["others"]] = "others"
    cost: ClassVar[str] = "as many passes of the rows that it learns on as steps, tower included, and answers"

    def first(self, picture: Image.Image) -> Pixels:
        return Pixels.of(np.zeros((picture.height, picture.width, 3), dtype=np.int16), adds=True)

    def bounded(self, levels: Floats) -> Floats:
        found: Floats = levels.clip(-self.radius, self.radius)
        return found


ATTACK = UniversalImage
