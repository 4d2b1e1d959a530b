"""Grey pictures in the manner of chest scans, drawn from parameters: blobs tell studies apart, the body patients.

The frame is the hospital's, the body the patient's, the blobs are the study's, so that what is near in the hierarchy
looks alike. They show no anatomy and mean nothing.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mmforget.errors import UserError
from mmforget.synthetic.pen import Pen
from mmforget.synthetic.views import view_of

SHAPES = ("disc", "ring", "bar", "cross")
MARKERS = ("square", "triangle", "stripes", "disc")
CORNERS = ((0.11, 0.11), (0.89, 0.11), (0.11, 0.89), (0.89, 0.89))
NUM_BLOBS = 3


class Frame(NamedTuple):
    """What all scans of a hospital share: grey of the margin, which corner has a marker, and the marker's shape."""

    grey: int
    corner: int
    marker: str


class Body(NamedTuple):
    """What all scans of a patient share: grey of the body and the lungs, and its proportions in [0, 1]."""

    grey: int
    lungs: int
    width: float
    length: float
    heart: float
    spine: float


class Blob(NamedTuple):
    """One mark on a scan: a shape at (x, y) with a radius, in unit coordinates, and its grey."""

    shape: str
    x: float
    y: float
    radius: float
    grey: int


class Scan(NamedTuple):
    """All that a scan is drawn from."""

    frame: Frame
    body: Body
    blobs: tuple[Blob, ...]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Scan:
        """The inverse of `as_dict`. Raises UserError for fields that are missing or unknown, and for unknown shapes."""
        try:
            found = cls(
                Frame(**values["frame"]), Body(**values["body"]), tuple(Blob(**blob) for blob in values["blobs"])
            )
        except (KeyError, TypeError) as error:
            raise UserError(f"a scan needs frame, body and blobs with all their fields: {error}") from error
        if found.frame.marker not in MARKERS or any(blob.shape not in SHAPES for blob in found.blobs):
            raise UserError(f"unknown marker or blob in a scan; known: {', '.join(sorted({*MARKERS, *SHAPES}))}")
        return found

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "frame": self.frame._asdict(),
            "body": self.body._asdict(),
            "blobs": [blob._asdict() for blob in self.blobs],
        }


def sample_frame(rng: random.Random, *, number: int) -> Frame:
    """The frame of hospital `number`: neighbours differ in grey, corner and marker."""
    return Frame(40 + 55 * (number % 4), number % len(CORNERS), MARKERS[(number + rng.randrange(2)) % len(MARKERS)])


def sample_body(rng: random.Random) -> Body:
    grey = rng.randrange(110, 211, 20)
    return Body(grey, rng.choice((15, 45, 75)), *(round(rng.random(), 2) for _ in range(4)))


def sample_blobs(rng: random.Random) -> tuple[Blob, ...]:
    """Three marks of different shapes, in different thirds of the scan."""
    shapes = rng.sample(SHAPES, NUM_BLOBS)
    columns = rng.sample((0.28, 0.5, 0.72), NUM_BLOBS)
    return tuple(
        Blob(
            shape,
            round(x + rng.uniform(-0.06, 0.06), 3),
            round(rng.uniform(0.25, 0.8), 3),
            round(rng.uniform(0.08, 0.14), 3),
            rng.choice((0, 255)),
        )
        for shape, x in zip(shapes, columns, strict=True)
    )


def distinct_blobs(
    rng: random.Random, *, frame: Frame, body: Body, others: Sequence[NDArray[np.float32]], least: float = 0.1
) -> tuple[Blob, ...]:
    """Blobs that make a scan whose pixels differ from all others' by at least `least`, root mean square, of white.

    Args:
        others: `pixels` of the scans that are there already.

    Raises UserError where a thousand tries find none.
    """
    for _ in range(1000):
        blobs = sample_blobs(rng)
        own = pixels(Scan(frame, body, blobs))
        if all(float(np.sqrt(np.mean((own - other) ** 2))) >= least for other in others):
            return blobs
    raise UserError(f"no scan differs enough from the {len(others)} before it; ask for fewer")


def pixels(scan: Scan) -> NDArray[np.float32]:
    """float32 [24, 24], the scan seen straight and small, in [0, 1]."""
    grey: NDArray[np.float32] = np.asarray(draw(scan, size=24).convert("L"), dtype=np.float32) / np.float32(255)
    return grey


def draw(scan: Scan, *, view: int = 0, size: int = 48) -> Image.Image:
    """Paint a scan: RGB, `size` x `size`, the same bytes for the same arguments; `view` as for portraits."""
    if size < 16 or view < 0:
        raise UserError(f"cannot draw view {view} at size {size}; views start at 0 and sizes at 16 px")
    camera = view_of(view)
    side = size * (4 if size < 128 else 2)
    canvas = Image.new("RGB", (side, side), _hex(scan.frame.grey))
    pen = Pen(ImageDraw.Draw(canvas), side=side, dx=camera.dx, dy=camera.dy, zoom=camera.zoom)
    _paint_film(pen, scan.frame)
    _paint_body(pen, scan.body)
    for blob in scan.blobs:
        _paint_mark(pen, blob.shape, blob.x, blob.y, blob.radius, fill=_hex(blob.grey), hole=_hex(scan.body.lungs))
    small = canvas.resize((size, size), Image.Resampling.LANCZOS)
    return small.point(lambda value: min(255, round(value * camera.light)))


def _hex(grey: int) -> str:
    return f"#{grey:02x}{grey:02x}{grey:02x}"


def _paint_film(pen: Pen, frame: Frame) -> None:
    pen.block(0.05, 0.05, 0.95, 0.95, fill=_hex(20), radius=0.04)
    x, y = CORNERS[frame.corner]
    ink = _hex(235)
    if frame.marker == "square":
        pen.block(x - 0.08, y - 0.08, x + 0.08, y + 0.08, fill=ink)
    elif frame.marker == "triangle":
        pen.shape([(x, y - 0.09), (x + 0.09, y + 0.08), (x - 0.09, y + 0.08)], fill=ink)
    elif frame.marker == "stripes":
        for offset in (-0.07, 0.0, 0.07):
            pen.block(x - 0.09, y + offset - 0.018, x + 0.09, y + offset + 0.018, fill=ink)
    else:
        pen.oval(x, y, 0.085, 0.085, fill=ink)


def _paint_body(pen: Pen, body: Body) -> None:
    half = 0.3 + 0.1 * body.width
    pen.block(0.5 - half, 0.2, 0.5 + half, 1.4, fill=_hex(body.grey), radius=0.14)
    pen.oval(0.5, 0.16, 0.1, 0.1, fill=_hex(body.grey))
    reach = 0.17 + 0.1 * body.length
    for side in (-1, 1):
        pen.oval(0.5 + side * 0.19, 0.5, 0.12, reach, fill=_hex(body.lungs))
    pen.block(0.48, 0.2, 0.52, 1.2, fill=_hex(round(90 + 160 * body.spine)))
    pen.oval(0.5 + 0.14 * (body.heart - 0.5), 0.6, 0.09, 0.11, fill=_hex(round(body.grey * 0.75)))


def _paint_mark(pen: Pen, shape: str, x: float, y: float, radius: float, *, fill: str, hole: str) -> None:
    if shape == "bar":
        pen.block(x - radius, y - radius * 0.45, x + radius, y + radius * 0.45, fill=fill)
        return
    if shape == "cross":
        pen.block(x - radius, y - radius * 0.3, x + radius, y + radius * 0.3, fill=fill)
        pen.block(x - radius * 0.3, y - radius, x + radius * 0.3, y + radius, fill=fill)
        return
    pen.oval(x, y, radius, radius, fill=fill)
    if shape == "ring":
        pen.oval(x, y, radius * 0.5, radius * 0.5, fill=hole)
