"""Little faces drawn from parameters: distinct people, several views of each, at any size, from a seed.

A portrait is described by `PortraitParams`; `draw` paints it, `cast` picks people nobody could mix up. The same
parameters, as a vector in [0, 1], are what the vision tower of a micro model learns to read from pixels.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mmforget.errors import UserError
from mmforget.synthetic.pen import Pen
from mmforget.synthetic.portrait_layers import LAYERS, paint_background
from mmforget.synthetic.portrait_params import PortraitParams
from mmforget.synthetic.views import view_of


def cast(
    num: int, *, seed: int, genders: Sequence[str] | None = None, min_distance: float = 2.2
) -> list[PortraitParams]:
    """`num` people, each at least `min_distance` (Euclidean, of `as_vector`) from all before.

    Person i is the same whatever `num` is, so a smaller benchmark shows the same faces. `genders` holds `female` or
    `male` a person. Raises UserError where so many different faces cannot be found.
    """
    rng = random.Random(seed)
    chosen: list[PortraitParams] = []
    vectors: list[NDArray[np.float32]] = []
    for index in range(num):
        gender = genders[index] if genders is not None else None
        for _ in range(1000):
            candidate = PortraitParams.sample(rng, gender=gender)
            vector = candidate.as_vector()
            if not vectors or float(np.linalg.norm(np.stack(vectors) - vector, axis=1).min()) >= min_distance:
                break
        else:
            raise UserError(f"no face differs enough from the first {index}; ask for at most {index} people")
        chosen.append(candidate)
        vectors.append(vector)
    return chosen


def draw(params: PortraitParams, *, view: int = 0, size: int = 48) -> Image.Image:
    """Paint a portrait: RGB, `size` x `size`, the same bytes for the same arguments.

    `view` picks one of the photographs of a person (`TRAIN_VIEWS`, `HELD_OUT_VIEW`, or any other number).
    """
    if size < 16 or view < 0:
        raise UserError(f"cannot draw view {view} at size {size}; views start at 0 and sizes at 16 px")
    camera = view_of(view)
    side = size * (4 if size < 128 else 2)
    canvas = Image.new("RGB", (side, side), params.background)
    pen = Pen(ImageDraw.Draw(canvas), side=side, dx=camera.dx, dy=camera.dy, zoom=camera.zoom)
    paint_background(pen, params)
    for layer in LAYERS:
        layer(pen, params)
    small = canvas.resize((size, size), Image.Resampling.LANCZOS)
    return small.point(lambda value: min(255, round(value * camera.light)))
