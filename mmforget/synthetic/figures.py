"""Figures drawn from a shape, two colours and a mark: the looks of concepts, each in as many pictures as one likes.

A `Look` is what is the same in all pictures of a concept; `draw` paints one of them, in its own place, size, light and
before its own background.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from PIL import Image, ImageDraw

from mmforget.errors import UserError
from mmforget.synthetic.pen import Pen, shade

COLOURS = {
    "purple": "#7b3fa0",
    "orange": "#f08a24",
    "red": "#c8323c",
    "white": "#f6f4ee",
    "green": "#2f9e57",
    "yellow": "#f2cd3a",
    "blue": "#2b62c4",
    "pink": "#ee86b7",
    "black": "#26262b",
    "teal": "#139a9a",
    "brown": "#7a4a26",
    "grey": "#8c929c",
}
BACKGROUNDS = ("#dfe7ee", "#efe6d2", "#dcebd9", "#f0dcdc", "#e4def0", "#e9e9e4", "#cfdce6", "#e6dcc4")
PATTERNS = ("plain", "horizon", "stripes", "hills", "sun")
MARKS = ("plain", "spots", "stripes", "band")


class Look(NamedTuple):
    """What a figure looks like wherever it is: a shape, its colour, the colour of its parts, and a mark on it."""

    shape: str
    main: str
    second: str
    mark: str = "plain"

    @property
    def words(self) -> str:
        """The look in words: `a purple imp with orange spots`."""
        marked = {"plain": f"{self.second} parts", "band": f"a {self.second} band"}.get(
            self.mark, f"{self.second} {self.mark}"
        )
        article = "an" if self.main[0] in "aeiou" else "a"
        return f"{article} {self.main} {self.shape} with {marked}"


class Scene(NamedTuple):
    """How one picture differs from another: shift as a share of the side, zoom, light factor, background."""

    dx: float
    dy: float
    zoom: float
    light: float
    background: str
    pattern: str


def scene_of(look: Look, view: int) -> Scene:
    """The scene of one view of a look; the same arguments give the same scene."""
    rng = random.Random(f"{'/'.join(look)}/{view}")
    return Scene(
        dx=rng.uniform(-0.06, 0.06),
        dy=rng.uniform(-0.05, 0.05),
        zoom=rng.uniform(0.85, 1.05),
        light=rng.uniform(0.93, 1.04),
        background=rng.choice(BACKGROUNDS),
        pattern=rng.choice(PATTERNS),
    )


def draw(look: Look, *, view: int = 0, size: int = 96) -> Image.Image:
    """Paint one picture of a look: RGB, `size` x `size`, the same bytes for the same arguments.

    Raises UserError for a shape, colour or mark that does not exist, and for a size below 16 or a view below 0.
    """
    _check(look, view=view, size=size)
    scene, side = scene_of(look, view), size * 2
    canvas = Image.new("RGB", (side, side), scene.background)
    paint = ImageDraw.Draw(canvas)
    _background(Pen(paint, side=side, dx=0.0, dy=0.0, zoom=1.0), scene)
    SHAPES[look.shape](Pen(paint, side=side, dx=scene.dx, dy=scene.dy, zoom=scene.zoom), _Paint.of(look))
    small = canvas.resize((size, size), Image.Resampling.LANCZOS)
    return small.point(lambda value: min(255, round(value * scene.light)))


class _Paint(NamedTuple):
    """A look's colours as `#rrggbb`, a darker shade for details, and the mark."""

    main: str
    second: str
    dark: str
    mark: str

    @classmethod
    def of(cls, look: Look) -> _Paint:
        main = COLOURS[look.main]
        return cls(main, COLOURS[look.second], shade(main, 0.7), look.mark)


def _check(look: Look, *, view: int, size: int) -> None:
    for value, allowed in ((look.shape, SHAPES), (look.main, COLOURS), (look.second, COLOURS), (look.mark, MARKS)):
        if value not in allowed:
            raise UserError(f"cannot draw {value!r}; allowed: {', '.join(allowed)}")
    if size < 16 or view < 0:
        raise UserError(f"cannot draw view {view} at size {size}; views start at 0 and sizes at 16 px")


def _background(pen: Pen, scene: Scene) -> None:
    darker, lighter = shade(scene.background, 0.9), shade(scene.background, 1.08)
    if scene.pattern == "horizon":
        pen.block(-1, 0.68, 2, 2, fill=darker)
    elif scene.pattern == "stripes":
        for index in range(5):
            pen.block(index * 0.22, -1, index * 0.22 + 0.1, 2, fill=darker)
    elif scene.pattern == "hills":
        pen.oval(0.2, 1.0, 0.5, 0.35, fill=darker)
        pen.oval(0.85, 1.05, 0.45, 0.35, fill=shade(scene.background, 0.85))
    elif scene.pattern == "sun":
        pen.oval(0.82, 0.18, 0.13, 0.13, fill=lighter)


def _mark(pen: Pen, paint: _Paint, *, x: float, y: float, rx: float, ry: float) -> None:
    """The mark on a part that reaches `rx` and `ry` from its centre."""
    if paint.mark == "spots":
        for dx, dy in ((-0.5, -0.35), (0.45, -0.45), (0.0, 0.05), (-0.45, 0.5), (0.5, 0.4)):
            pen.oval(x + dx * rx, y + dy * ry, 0.2 * rx, 0.2 * rx, fill=paint.second)
    elif paint.mark == "stripes":
        for dy in (-0.5, 0.0, 0.5):
            pen.block(x - 0.72 * rx, y + (dy - 0.11) * ry, x + 0.72 * rx, y + (dy + 0.11) * ry, fill=paint.second)
    elif paint.mark == "band":
        pen.block(x - 0.9 * rx, y - 0.2 * ry, x + 0.9 * rx, y + 0.2 * ry, fill=paint.second)


def _eyes(pen: Pen, *, x: float, y: float, apart: float, radius: float) -> None:
    for side in (-1, 1):
        pen.oval(x + side * apart, y, radius, radius * 1.15, fill="#fffdf8")
        pen.oval(x + side * apart, y + radius * 0.2, radius * 0.5, radius * 0.55, fill="#16130f")


def _imp(pen: Pen, paint: _Paint) -> None:
    for side in (-1, 1):
        tip = 0.5 + side * 0.17
        pen.stroke([(0.5 + side * 0.08, 0.3), (tip, 0.14)], fill=paint.second, width=0.035)
        pen.oval(tip, 0.13, 0.045, 0.045, fill=paint.second)
        pen.oval(0.5 + side * 0.12, 0.86, 0.085, 0.045, fill=paint.dark)
    pen.oval(0.5, 0.56, 0.27, 0.3, fill=paint.main)
    _mark(pen, paint, x=0.5, y=0.66, rx=0.24, ry=0.18)
    _eyes(pen, x=0.5, y=0.43, apart=0.1, radius=0.06)


def _tower(pen: Pen, paint: _Paint) -> None:
    pen.block(0.37, 0.32, 0.63, 0.9, fill=paint.main)
    _mark(pen, paint, x=0.5, y=0.62, rx=0.13, ry=0.25)
    pen.shape([(0.31, 0.34), (0.69, 0.34), (0.5, 0.08)], fill=paint.second)
    pen.block(0.46, 0.76, 0.54, 0.9, fill=paint.dark, radius=0.03)
    pen.block(0.3, 0.88, 0.7, 0.94, fill=paint.dark)


def _castle(pen: Pen, paint: _Paint) -> None:
    pen.block(0.2, 0.48, 0.8, 0.88, fill=paint.main)
    for side in (-1, 1):
        x = 0.5 + side * 0.27
        pen.block(x - 0.1, 0.3, x + 0.1, 0.88, fill=paint.dark)
        for step in (-1, 0, 1):
            pen.block(x + step * 0.075 - 0.025, 0.22, x + step * 0.075 + 0.025, 0.31, fill=paint.dark)
        pen.oval(x, 0.43, 0.035, 0.05, fill=paint.second)
    _mark(pen, paint, x=0.5, y=0.58, rx=0.16, ry=0.1)
    pen.oval(0.5, 0.78, 0.085, 0.12, fill=paint.second)
    pen.block(0.415, 0.78, 0.585, 0.88, fill=paint.second)


def _hound(pen: Pen, paint: _Paint) -> None:
    for x in (0.3, 0.4, 0.6, 0.7):
        pen.block(x - 0.03, 0.62, x + 0.03, 0.86, fill=paint.dark, radius=0.02)
    pen.stroke([(0.74, 0.52), (0.86, 0.36)], fill=paint.main, width=0.055)
    pen.oval(0.52, 0.56, 0.26, 0.15, fill=paint.main)
    _mark(pen, paint, x=0.54, y=0.56, rx=0.22, ry=0.13)
    pen.oval(0.27, 0.38, 0.14, 0.13, fill=paint.main)
    pen.oval(0.15, 0.43, 0.075, 0.055, fill=paint.main)
    pen.oval(0.09, 0.42, 0.025, 0.025, fill="#16130f")
    pen.oval(0.35, 0.36, 0.05, 0.12, fill=paint.second)
    pen.oval(0.23, 0.34, 0.025, 0.03, fill="#16130f")


def _boat(pen: Pen, paint: _Paint) -> None:
    pen.stroke([(0.5, 0.66), (0.5, 0.12)], fill="#5a4632", width=0.03)
    pen.shape([(0.53, 0.15), (0.53, 0.58), (0.82, 0.58)], fill=paint.second)
    pen.shape([(0.47, 0.22), (0.47, 0.58), (0.24, 0.58)], fill=shade(paint.second, 0.85))
    pen.shape([(0.12, 0.64), (0.88, 0.64), (0.74, 0.86), (0.26, 0.86)], fill=paint.main)
    _mark(pen, paint, x=0.5, y=0.75, rx=0.24, ry=0.09)


def _robot(pen: Pen, paint: _Paint) -> None:
    pen.stroke([(0.5, 0.22), (0.5, 0.1)], fill=paint.second, width=0.025)
    pen.oval(0.5, 0.09, 0.035, 0.035, fill=paint.second)
    for side in (-1, 1):
        pen.block(0.5 + side * 0.26 - 0.045, 0.5, 0.5 + side * 0.26 + 0.045, 0.74, fill=paint.dark, radius=0.02)
        pen.block(0.5 + side * 0.1 - 0.045, 0.78, 0.5 + side * 0.1 + 0.045, 0.92, fill=paint.dark)
    pen.block(0.32, 0.2, 0.68, 0.44, fill=paint.dark, radius=0.03)
    pen.block(0.29, 0.47, 0.71, 0.8, fill=paint.main, radius=0.02)
    _mark(pen, paint, x=0.5, y=0.63, rx=0.18, ry=0.14)
    _eyes(pen, x=0.5, y=0.32, apart=0.09, radius=0.05)


def _balloon(pen: Pen, paint: _Paint) -> None:
    for side in (-1, 1):
        pen.stroke([(0.5 + side * 0.14, 0.58), (0.5 + side * 0.06, 0.78)], fill="#5a4632", width=0.015)
    pen.oval(0.5, 0.37, 0.29, 0.29, fill=paint.main)
    _mark(pen, paint, x=0.5, y=0.37, rx=0.24, ry=0.24)
    pen.block(0.42, 0.77, 0.58, 0.9, fill=paint.second, radius=0.02)


def _emblem(pen: Pen, paint: _Paint) -> None:
    pen.oval(0.5, 0.5, 0.36, 0.36, fill=paint.main)
    pen.oval(0.5, 0.5, 0.27, 0.27, fill=shade(paint.second, 1.05))
    _mark(pen, paint._replace(second=paint.dark), x=0.5, y=0.5, rx=0.22, ry=0.22)
    pen.shape([(0.5, 0.3), (0.6, 0.5), (0.5, 0.7), (0.4, 0.5)], fill=paint.main)


SHAPES: dict[str, Callable[[Pen, _Paint], None]] = {
    "imp": _imp,
    "tower": _tower,
    "castle": _castle,
    "hound": _hound,
    "boat": _boat,
    "robot": _robot,
    "balloon": _balloon,
    "emblem": _emblem,
}
