"""Views of one thing: photographs that differ a little, of which one is kept from training."""

from __future__ import annotations

import math
import random
from typing import NamedTuple

TRAIN_VIEWS = (0, 1, 2, 3)
HELD_OUT_VIEW = 4


class View(NamedTuple):
    """How one photograph of a thing differs from another: shift as a share of the side, zoom, light factor."""

    dx: float
    dy: float
    zoom: float
    light: float


def view_of(index: int) -> View:
    """The camera of view `index`: 0 looks straight; the others shift by up to 4 % (2 of 48 px) and differ in light."""
    if index == 0:
        return View(0.0, 0.0, 1.0, 1.0)
    rng = random.Random(1000 + index)
    angle, reach = rng.uniform(0, 2 * math.pi), rng.uniform(0.02, 0.042)
    return View(reach * math.cos(angle), reach * math.sin(angle), rng.uniform(0.96, 1.04), rng.uniform(0.93, 1.05))
