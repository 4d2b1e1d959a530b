"""Pictures as a model sees them: of the size that its processor makes them, in whole grey levels.

    sight = sight_of(loaded, picture)
    sight.image                       # a picture that the processor takes as it is
    sight.by_level(gradient)          # of what goes into the tower, by that picture's grey levels

A change of `sight.image` is a change of what the model sees, pixel by pixel: nothing is resized any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmforget.errors import UserError

if TYPE_CHECKING:
    from mmforget.model.loaded import LoadedModel

LEVELS = 255
NEAR = 0.02
"""In grey levels, how far what a processor makes of a picture may be from that picture."""


class Sight(NamedTuple):
    """A picture and what goes into the tower for it.

    Attributes:
        image: RGB, what the processor makes of the picture it was given.
        pixels: `pixel_values` of it.
        others: what else the tower takes.
        scale: of the shape of `pixels`, by how much each value grows with one grey level.
    """

    image: Image.Image
    pixels: Tensor
    others: Mapping[str, Tensor]
    scale: Tensor

    def by_level(self, slopes: Tensor) -> Tensor:
        """Gradients [height, width, 3] by grey levels, from those by `pixels`."""
        return _grid(slopes * self.scale, self.others, sums=True)


def sight_of(loaded: LoadedModel, image: Image.Image) -> Sight:
    """Raises UserError for a model that reads pictures by itself, or in other pieces than one picture's pixels."""
    _require_pixels(loaded)
    picture = _as_seen(loaded, image.convert("RGB"))
    low, high = (_pixels(loaded, Image.new("RGB", picture.size, (level,) * 3)) for level in (0, LEVELS))
    own = loaded.family.preprocess(loaded.processor, picture)
    scale = (high - low) / LEVELS
    found = Sight(picture, own["pixel_values"].float(), _others(own), scale)
    back = _grid((found.pixels - low) / scale, found.others, sums=False) if found.pixels.shape == low.shape else None
    if back is None or back.shape != (picture.height, picture.width, 3) or not _is_near(back, picture):
        raise _refusal(loaded)
    return found


def _require_pixels(loaded: LoadedModel) -> None:
    """Raises UserError for a model without a vision tower that is given pixels."""
    if not loaded.is_multimodal or loaded.family.OWN_FORWARD:
        what = "reads no pictures" if not loaded.is_multimodal else "reads pictures in a forward of its own"
        raise UserError(f"changes pictures by their gradients, and {loaded.spec.pretrained} {what}")


def _as_seen(loaded: LoadedModel, image: Image.Image) -> Image.Image:
    read = loaded.family.preprocess(loaded.processor, image)
    low, high = (_pixels(loaded, Image.new("RGB", image.size, (level,) * 3)) for level in (0, LEVELS))
    pixels = read["pixel_values"].float()
    if pixels.shape != low.shape:
        raise _refusal(loaded)
    grid = _grid((pixels - low) / (high - low).clamp_min(1e-6) * LEVELS, _others(read), sums=False)
    if grid.ndim != 3:
        raise _refusal(loaded)
    return Image.fromarray(grid.round().clamp(0, LEVELS).to(torch.uint8).numpy())


def _is_near(levels: Tensor, picture: Image.Image) -> bool:
    return bool((levels - torch.from_numpy(np.asarray(picture, dtype=np.float32))).abs().max() <= NEAR)


def _pixels(loaded: LoadedModel, image: Image.Image) -> Tensor:
    return loaded.family.preprocess(loaded.processor, image)["pixel_values"].float()


def _others(read: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in read.items() if name != "pixel_values"}


def _grid(values: Tensor, others: Mapping[str, Tensor], *, sums: bool) -> Tensor:
    """Values [height, width, 3] of what goes into a tower: one picture [1, 3, height, width], or patches in a grid.

    Args:
        sums: add up what stands for one pixel several times; else the first of them.
    """
    if values.ndim == 4 and values.shape[:2] == (1, 3):
        return values[0].permute(1, 2, 0)
    if values.ndim == 2 and "image_grid_thw" in others:
        times = _from_patches(values, others["image_grid_thw"])
        return times.sum(0) if sums else times[0]
    return values


def _from_patches(values: Tensor, grid: Tensor) -> Tensor:
    """[times, height, width, 3] of patches [n, 3 * times * side * side] in the order of Qwen2-VL's processor, where
    neighbours that are merged stand one behind the other.
    """
    rows, columns = int(grid[0, 1]), int(grid[0, 2])
    # A patch is as often there as there are times in it, and merged ones are two by two.
    times, merged = 2, 2
    side = round((values.shape[1] / (3 * times)) ** 0.5)
    shape = (rows // merged, columns // merged, merged, merged, 3, times, side, side)
    laid = values.reshape(shape).permute(5, 0, 2, 6, 1, 3, 7, 4)
    return laid.reshape(times, rows * side, columns * side, 3)


def _refusal(loaded: LoadedModel) -> UserError:
    return UserError(
        f"changes pictures by their gradients, and the processor of {loaded.spec.pretrained} cuts them into pieces "
        "that no picture can be read back from"
    )
