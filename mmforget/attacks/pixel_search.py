"""What attacks have in common that search for other pixels, in whole grey levels: projected gradient steps (PGD).

Pictures are changed as the model sees them, behind whatever its processor resizes and before it normalises, so that a
level is a level and what is asked about is a picture. Source: Madry et al. (arXiv 1706.06083), for the true answer.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking
from mmforget.attacks.changes import Change, Pixels, applied
from mmforget.attacks.search import Search

if TYPE_CHECKING:
    from PIL import Image

    from mmforget.lm.whitebox import WhiteBox

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


@dataclass(frozen=True)
class PixelSearch(Search):
    """A search for pixels; a subclass says where they are, `first`, and how far they may go, `bounded`.

    A step moves every level by `stride` along the sign of the gradient, averaged over questions; the best so far is
    tried.

    Args:
        stride: in grey levels of 0 to 255.
    """

    stride: int = 2

    modality: ClassVar[Literal["image"]] = "image"
    through: ClassVar[Literal["pixels"]] = "pixels"

    def search(self, asks: Sequence[Ask], box: WhiteBox) -> Iterator[Change] | Lacking:
        shown = [ask.showing([box.seen(image) for image in ask.images]) for ask in asks if ask.images]
        if not shown:
            return Lacking("no picture in the question")
        first = self.first(shown[0].images[0])
        fitting = [ask for ask in shown if all(map(first.fits, ask.images))]
        return self.tried(self._better(fitting or shown[:1], first, box))

    @abstractmethod
    def first(self, picture: Image.Image) -> Pixels:
        """The pixels before the first step, for pictures of the size of this one."""

    @abstractmethod
    def bounded(self, levels: Floats) -> Floats:
        """Levels as near as they may be."""

    def _better(self, asks: Sequence[Ask], held: Pixels, box: WhiteBox) -> Iterator[Change]:
        """The best after each step."""
        best, score = held, _score(asks, held, box)
        for _ in range(self.steps):
            slope = np.sign(_slope(asks, held, box))
            levels = self.bounded(held.values.astype(np.float32) + self.stride * slope)
            held = Pixels.of(levels.astype(np.int16), corner=held.corner, adds=held.adds)
            found = _score(asks, held, box)
            if found > score:
                best, score = held, found
            yield best


def _shown(asks: Sequence[Ask], pixels: Pixels) -> list[Ask]:
    found = [applied(pixels, ask, seen=lambda image: image) for ask in asks]
    return [one for one in found if isinstance(one, Ask)]


def _score(asks: Sequence[Ask], pixels: Pixels, box: WhiteBox) -> float:
    return float(box.score(_shown(asks, pixels)).mean())


def _slope(asks: Sequence[Ask], pixels: Pixels, box: WhiteBox) -> Floats:
    """The gradient by the levels of the part that changes, [height, width, 3], summed over questions and pictures."""
    (left, top), (width, height) = pixels.corner, pixels.size
    total = np.zeros((height, width, 3), dtype=np.float32)
    for ask in _shown(asks, pixels):
        for slope in box.pixel_slopes(ask):
            total += slope[top : top + height, left : left + width].numpy()
    return total
