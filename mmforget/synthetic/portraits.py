"""Little faces drawn from parameters: distinct people, several views of each, at any size, from a seed.

A portrait is described by `PortraitParams`; `draw` paints it, `cast` picks people nobody could mix up. The same
parameters, as a vector in [0, 1], are what the vision tower of a micro model learns to read from pixels.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mmforget.errors import UserError
from mmforget.synthetic.portrait_layers import LAYERS, Pen, paint_background
from mmforget.synthetic.portrait_palette import (
    BACKGROUNDS,
    BEARDS,
    EYES,
    FABRICS,
    GLASSES,
    HAIR_COLOURS,
    HAIRSTYLES,
    HATS,
    MOUTHS,
    PATTERNS,
    SKINS,
)

TRAIN_VIEWS = (0, 1, 2, 3)
HELD_OUT_VIEW = 4

_STYLES: dict[str, tuple[str, ...]] = {
    "hairstyle": HAIRSTYLES,
    "hat": HATS,
    "glasses": GLASSES,
    "beard": BEARDS,
    "mouth": MOUTHS,
    "pattern": PATTERNS,
}
_COLOURS: dict[str, tuple[str, ...]] = {
    "skin": SKINS,
    "hair": HAIR_COLOURS,
    "eyes": EYES,
    "background": BACKGROUNDS,
    "shirt": FABRICS,
    "accent": FABRICS,
}
_WORN = {"female": HAIRSTYLES[1:], "male": ("bald", "crop", "crop", "parted", "parted", "quiff", "curls", "long")}
_SHAPES = ("face_width", "face_length", "eye_spacing", "eye_size", "brow")
_MARKS = ("freckles", "blush", "earrings")


class View(NamedTuple):
    """How one photograph of a person differs from another: shift as a share of the side, zoom, light factor."""

    dx: float
    dy: float
    zoom: float
    light: float


@dataclass(frozen=True)
class PortraitParams:
    """All that a face is drawn from: names of styles, colours as `#rrggbb`, shapes in [0, 1], marks yes or no."""

    hairstyle: str
    hat: str
    glasses: str
    beard: str
    mouth: str
    pattern: str
    skin: str
    hair: str
    eyes: str
    background: str
    shirt: str
    accent: str
    face_width: float
    face_length: float
    eye_spacing: float
    eye_size: float
    brow: float
    freckles: bool
    blush: bool
    earrings: bool

    def __post_init__(self) -> None:
        for name, allowed in {**_STYLES, **_COLOURS}.items():
            if getattr(self, name) not in allowed:
                raise UserError(f"portrait {name} is {getattr(self, name)!r}; allowed: {', '.join(allowed)}")
        for name in _SHAPES:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f"portrait {name} is {getattr(self, name)!r}; give a number from 0 to 1")

    @classmethod
    def sample(cls, rng: random.Random, *, gender: str | None = None) -> PortraitParams:
        """A face at random. `gender` `female` or `male` steers hair and beards; None draws any combination."""
        styles = {name: rng.choice(allowed) for name, allowed in _STYLES.items()}
        styles |= {
            "hairstyle": rng.choice(_WORN.get(gender or "", HAIRSTYLES)),
            "hat": rng.choice(("none",) * 6 + HATS),
            "glasses": rng.choice(("none",) * 3 + GLASSES),
            "beard": "none" if gender == "female" else rng.choice(("none",) + BEARDS),
        }
        colours = {name: rng.choice(allowed) for name, allowed in _COLOURS.items()}
        colours["hair"] = rng.choice(HAIR_COLOURS[:6] * 3 + HAIR_COLOURS[6:])
        shapes = {name: round(rng.random(), 3) for name in _SHAPES}
        marks = {name: rng.random() < 0.35 for name in _MARKS}
        return cls.from_dict({**styles, **colours, **shapes, **marks})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PortraitParams:
        """The inverse of `as_dict`. Raises UserError naming missing and unknown fields."""
        known = {field.name for field in fields(cls)}
        wrong = sorted(known ^ set(values))
        if wrong:
            raise UserError(
                f"portrait fields missing or unknown: {', '.join(wrong)}; needed: {', '.join(sorted(known))}"
            )
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)

    def as_vector(self) -> NDArray[np.float32]:
        """float32 [D] in [0, 1]: styles one-hot, colours as RGB shares, shapes and marks as they are."""
        hot = [float(getattr(self, name) == option) for name, allowed in _STYLES.items() for option in allowed]
        rgb = [channel / 255 for name in _COLOURS for channel in bytes.fromhex(getattr(self, name)[1:])]
        rest = [float(getattr(self, name)) for name in (*_SHAPES, *_MARKS)]
        return np.asarray([*hot, *rgb, *rest], dtype=np.float32)


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


def view_of(index: int) -> View:
    """The camera of view `index`: 0 looks straight; the others shift by up to 4 % (2 of 48 px) and differ in light."""
    if index == 0:
        return View(0.0, 0.0, 1.0, 1.0)
    rng = random.Random(1000 + index)
    angle, reach = rng.uniform(0, 2 * math.pi), rng.uniform(0.02, 0.042)
    return View(reach * math.cos(angle), reach * math.sin(angle), rng.uniform(0.96, 1.04), rng.uniform(0.93, 1.05))


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
