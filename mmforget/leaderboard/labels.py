"""Where the names go in a board's picture: near their markers, covering as little as can be of what else is there.

N names, K places tried for each, M obstacles. All boxes are `x0, y0, x1, y1` in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RINGS = (12, 22, 34, 48, 64, 82, 102)
ANGLES = (35, -35, 145, -145, 90, -90, 0, 180, 62, -62, 118, -118)
NUDGES = tuple(
    (round(ring * math.cos(math.radians(angle))), round(ring * math.sin(math.radians(angle))))
    for ring in RINGS
    for angle in ANGLES
)
"""Offsets from marker to name, in points, the nearest first."""
NAME, MARKER, ARM = 20.0, 4.0, 1.0
"""What covering a square pixel of another name, a marker or an interval costs."""
CROSSING, OUTSIDE, FARTHER = 200 * NAME, 1e6, 4.0
"""What a line through another name costs, a name beyond the frame, and the next place in `NUDGES`."""
NUM_STEPS = 9
MARGIN = 3.0


class Name(NamedTuple):
    """A name to be placed.

    Attributes:
        x, y: its marker, in pixels.
        box: where the text would lie if it began at (0, 0) and stood vertically centred.
    """

    x: float
    y: float
    box: tuple[float, float, float, float]


class Obstacle(NamedTuple):
    """A box that names should not cover, and what a square pixel of it costs."""

    box: tuple[float, float, float, float]
    weight: float


def place(
    names: Sequence[Name], obstacles: Sequence[Obstacle], *, frame: tuple[float, float, float, float], pixels: float
) -> list[tuple[int, int]]:
    """The offset of every name, one of `NUDGES`; earlier names choose first, later ones avoid them.

    Args:
        frame: the box that names should not leave.
        pixels: a point's size in pixels.
    """
    taken = np.array([obstacle.box for obstacle in obstacles], dtype=np.float64).reshape(-1, 4)
    weights = np.array([obstacle.weight for obstacle in obstacles], dtype=np.float64)
    chosen = []
    for name in names:
        boxes = _boxes(name, pixels=pixels)
        costs = FARTHER * np.arange(len(NUDGES)) + _overlaps(boxes, taken) @ weights
        costs += OUTSIDE * _outside(boxes, frame)
        costs += CROSSING * _crossings(name, taken[weights == NAME], pixels=pixels)
        best = int(np.argmin(costs))
        chosen.append(NUDGES[best])
        taken, weights = np.vstack([taken, boxes[best]]), np.append(weights, NAME)
    return chosen


def alignment(nudge: tuple[int, int]) -> str:
    """Which end of a name lies at its place: the one towards the marker."""
    return "left" if nudge[0] > 2 else "right" if nudge[0] < -2 else "center"


def _boxes(name: Name, *, pixels: float) -> Floats:
    """Where the name would lie at each place: float64 [K, 4]."""
    x0, y0, x1, y1 = name.box
    shifts = {"left": 0.0, "center": (x0 + x1) / 2, "right": x0 + x1}
    found = []
    for nudge in NUDGES:
        x, y = name.x + nudge[0] * pixels - shifts[alignment(nudge)], name.y + nudge[1] * pixels
        found.append((x + x0 - MARGIN, y + y0 - MARGIN, x + x1 + MARGIN, y + y1 + MARGIN))
    return np.array(found)


def _overlaps(boxes: Floats, taken: Floats) -> Floats:
    """Area that each box shares with each obstacle, in square pixels: float64 [K, M]."""
    widths = np.minimum(boxes[:, None, 2], taken[None, :, 2]) - np.maximum(boxes[:, None, 0], taken[None, :, 0])
    heights = np.minimum(boxes[:, None, 3], taken[None, :, 3]) - np.maximum(boxes[:, None, 1], taken[None, :, 1])
    found: Floats = np.maximum(widths, 0.0) * np.maximum(heights, 0.0)
    return found


def _outside(boxes: Floats, frame: tuple[float, float, float, float]) -> NDArray[np.bool_]:
    low, high = np.array(frame[:2]), np.array(frame[2:])
    beyond = np.hstack([boxes[:, :2] < low, boxes[:, 2:] > high])
    found: NDArray[np.bool_] = np.any(beyond, axis=1)
    return found


def _crossings(name: Name, others: Floats, *, pixels: float) -> Floats:
    """How many other names the line from the marker to each place would run through: float64 [K]."""
    steps = np.linspace(0.0, 1.0, NUM_STEPS)[None, :] * pixels
    nudges = np.array(NUDGES, dtype=np.float64)
    across, up = name.x + nudges[:, :1] * steps, name.y + nudges[:, 1:] * steps
    hit = (others[:, 0] <= across[..., None]) & (across[..., None] <= others[:, 2])
    hit &= (others[:, 1] <= up[..., None]) & (up[..., None] <= others[:, 3])
    found: Floats = hit.any(axis=1).sum(axis=1).astype(np.float64)
    return found
