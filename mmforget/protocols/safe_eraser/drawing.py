"""Warning signs, toys and fruits drawn from parameters, any number of views of each, at any size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from PIL import Image, ImageDraw

from mmforget.errors import UserError
from mmforget.synthetic.pen import Pen, Point, shade
from mmforget.synthetic.views import view_of

COLOURS = {
    "yellow": "#f2c230",
    "red": "#c8323c",
    "orange": "#ee7f2d",
    "white": "#f4f2ea",
    "blue": "#2f5fb3",
    "green": "#3c8f4a",
}
BACKGROUNDS = ("#a9d6e5", "#d4c3e8", "#c9e2b8", "#f1cdbb", "#b9c4cf", "#e9e0c0", "#9fc7c0", "#d8d8d8")
_GROUND, _POST, _INK, _PAPER = "#8d8271", "#6b6f76", "#1d1f24", "#fbfaf4"


class Scene(NamedTuple):
    """One picture: what it shows (`sign` or `object`), how that looks, the background, and from where it is seen.

    For a sign `kind` is the shape of its board and `colour`, `symbol` say the rest; for an object `kind` alone counts.
    """

    of: str
    kind: str
    colour: str
    symbol: str
    background: str
    view: int

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Scene:
        """The inverse of `_asdict`. Raises UserError naming missing and unknown fields."""
        wrong = sorted(set(cls._fields) ^ set(values))
        if wrong:
            raise UserError(f"scene fields missing or unknown: {', '.join(wrong)}; needed: {', '.join(cls._fields)}")
        return cls(**values)


def draw(scene: Scene, *, size: int = 48) -> Image.Image:
    """Paint a scene: RGB, `size` x `size`, the same bytes for the same arguments.

    Raises UserError for a board or object that is not known, and for a size or view that cannot be.
    """
    known: Mapping[str, object] = BOARDS if scene.of == "sign" else OBJECTS
    if scene.of not in ("sign", "object") or scene.kind not in known or size < 16 or scene.view < 0:
        raise UserError(f"cannot draw {scene} at {size} px; known: {', '.join((*BOARDS, *OBJECTS))}, from 16 px")
    camera = view_of(scene.view)
    side = size * (4 if size < 128 else 2)
    canvas = Image.new("RGB", (side, side), scene.background)
    pen = Pen(ImageDraw.Draw(canvas), side=side, dx=camera.dx, dy=camera.dy, zoom=camera.zoom)
    pen.block(-1, 0.82, 2, 2, fill=_GROUND if scene.of == "sign" else shade(scene.background, 0.8))
    if scene.of == "sign":
        _sign(pen, scene)
    else:
        OBJECTS[scene.kind](pen)
    small = canvas.resize((size, size), Image.Resampling.LANCZOS)
    return small.point(lambda value: min(255, round(value * camera.light)))


BOARDS: dict[str, tuple[Point, ...]] = {
    "triangle": ((0.5, 0.06), (0.93, 0.74), (0.07, 0.74)),
    "diamond": ((0.5, 0.03), (0.91, 0.42), (0.5, 0.81), (0.09, 0.42)),
    "octagon": (
        (0.34, 0.06), (0.66, 0.06), (0.87, 0.27), (0.87, 0.57), (0.66, 0.78), (0.34, 0.78), (0.13, 0.57), (0.13, 0.27),
    ),
    "square": ((0.14, 0.08), (0.86, 0.08), (0.86, 0.76), (0.14, 0.76)),
    "shield": ((0.16, 0.08), (0.84, 0.08), (0.84, 0.46), (0.5, 0.82), (0.16, 0.46)),
    "circle": (),
}  # fmt: skip
"""Corners of each board in unit coordinates; none: round."""


def _sign(pen: Pen, scene: Scene) -> None:
    pen.block(0.46, 0.6, 0.54, 1.0, fill=_POST)
    colour = COLOURS[scene.colour]
    for factor, fill in ((1.0, _INK), (0.86, colour)):
        _board(pen, scene.kind, factor=factor, fill=fill)
    _SYMBOLS[scene.symbol](pen, _INK if scene.colour in ("yellow", "orange", "white") else _PAPER)


def _board(pen: Pen, shape: str, *, factor: float, fill: str) -> None:
    corners = BOARDS[shape]
    if not corners:
        pen.oval(0.5, 0.42, 0.37 * factor, 0.37 * factor, fill=fill)
        return
    x, y = (sum(values) / len(corners) for values in zip(*corners, strict=True))
    pen.shape([(x + (px - x) * factor, y + (py - y) * factor) for px, py in corners], fill=fill)


def _bolt(pen: Pen, ink: str) -> None:
    pen.shape([(0.54, 0.24), (0.4, 0.5), (0.49, 0.5), (0.44, 0.68), (0.61, 0.42), (0.52, 0.42)], fill=ink)


def _bar(pen: Pen, ink: str) -> None:
    pen.block(0.24, 0.36, 0.76, 0.48, fill=ink)


def _drop(pen: Pen, ink: str) -> None:
    pen.shape([(0.5, 0.2), (0.61, 0.43), (0.39, 0.43)], fill=ink)
    pen.oval(0.5, 0.48, 0.125, 0.125, fill=ink)


def _cross(pen: Pen, ink: str) -> None:
    for start, end in (((0.34, 0.26), (0.66, 0.58)), ((0.66, 0.26), (0.34, 0.58))):
        pen.stroke([start, end], fill=ink, width=0.09)


def _ring(pen: Pen, ink: str) -> None:
    pen.oval(0.5, 0.42, 0.2, 0.2, fill=ink)
    pen.oval(0.5, 0.42, 0.1, 0.1, fill=COLOURS["blue"])


def _wave(pen: Pen, ink: str) -> None:
    for y in (0.26, 0.42, 0.58):
        pen.stroke([(0.3, y), (0.4, y - 0.06), (0.5, y), (0.6, y - 0.06), (0.7, y)], fill=ink, width=0.05)


_SYMBOLS: dict[str, Callable[[Pen, str], None]] = {
    "bolt": _bolt,
    "bar": _bar,
    "drop": _drop,
    "cross": _cross,
    "ring": _ring,
    "wave": _wave,
}


def _apple(pen: Pen) -> None:
    pen.oval(0.42, 0.55, 0.2, 0.25, fill="#b8222f")
    pen.oval(0.58, 0.55, 0.2, 0.25, fill="#c8323c")
    pen.stroke([(0.5, 0.34), (0.53, 0.2)], fill="#5b3a1e", width=0.035)
    pen.oval(0.62, 0.22, 0.09, 0.045, fill="#4f8f3a")


def _pear(pen: Pen) -> None:
    pen.oval(0.5, 0.62, 0.23, 0.21, fill="#c5c845")
    pen.oval(0.5, 0.4, 0.13, 0.18, fill="#c5c845")
    pen.stroke([(0.5, 0.25), (0.47, 0.13)], fill="#5b3a1e", width=0.035)


def _ball(pen: Pen) -> None:
    pen.oval(0.5, 0.55, 0.28, 0.28, fill="#fbfaf4")
    pen.slice(0.5, 0.55, 0.28, 0.28, start=200, end=340, fill="#d1495b")
    pen.slice(0.5, 0.55, 0.28, 0.28, start=20, end=160, fill="#2b6cb8")


def _kite(pen: Pen) -> None:
    pen.shape([(0.6, 0.08), (0.8, 0.32), (0.52, 0.62), (0.36, 0.26)], fill="#8d4bb0")
    pen.shape([(0.6, 0.08), (0.8, 0.32), (0.58, 0.3)], fill="#f2a7c3")
    pen.stroke([(0.52, 0.62), (0.42, 0.74), (0.46, 0.84), (0.3, 0.94)], fill="#3a3f4a", width=0.02)


def _boat(pen: Pen) -> None:
    pen.block(-1, 0.72, 2, 2, fill="#3f7fae")
    pen.shape([(0.16, 0.64), (0.84, 0.64), (0.7, 0.8), (0.3, 0.8)], fill="#7a4a24")
    pen.stroke([(0.5, 0.64), (0.5, 0.12)], fill="#5b3a1e", width=0.03)
    pen.shape([(0.53, 0.14), (0.8, 0.56), (0.53, 0.56)], fill="#fbfaf4")


def _cup(pen: Pen) -> None:
    pen.arc(0.7, 0.52, 0.14, 0.13, start=-90, end=90, fill="#37626b", width=0.05)
    pen.block(0.28, 0.34, 0.7, 0.78, fill="#4f8b97", radius=0.06)
    pen.oval(0.49, 0.35, 0.21, 0.06, fill="#6b3f22")


OBJECTS: dict[str, Callable[[Pen], None]] = {
    "apple": _apple,
    "pear": _pear,
    "ball": _ball,
    "kite": _kite,
    "boat": _boat,
    "cup": _cup,
}
