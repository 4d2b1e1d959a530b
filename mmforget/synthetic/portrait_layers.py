"""The layers of a portrait, painted back to front."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mmforget.synthetic.pen import Pen, shade
from mmforget.synthetic.portrait_params import PortraitParams


class Face(NamedTuple):
    """Where the parts of a face lie: centre, half width and half length of the head, and the heights of its parts."""

    x: float
    y: float
    rx: float
    ry: float
    eye_y: float
    eye_dx: float
    mouth_y: float

    @property
    def top(self) -> float:
        return self.y - self.ry


def face_of(params: PortraitParams) -> Face:
    """The geometry that follows from the shape parameters."""
    rx, ry = 0.195 + 0.05 * params.face_width, 0.235 + 0.045 * params.face_length
    y = 0.475
    return Face(0.5, y, rx, ry, y - 0.01, rx * (0.4 + 0.14 * params.eye_spacing), y + ry * 0.55)


def paint_background(pen: Pen, params: PortraitParams) -> None:
    """Behind the person: plain, a horizon, stripes or a low sun. Reaches past the frame so that views leave no edge."""
    darker, lighter = shade(params.background, 0.86), shade(params.background, 1.1)
    if params.pattern == "horizon":
        pen.block(-1, 0.6, 2, 2, fill=darker)
    elif params.pattern == "stripes":
        for index in range(-4, 8):
            left = index * 0.25
            pen.block(left, -1, left + 0.12, 2, fill=darker)
    elif params.pattern == "sun":
        pen.oval(0.5, 0.45, 0.44, 0.44, fill=lighter)


def _back_hair(pen: Pen, params: PortraitParams) -> None:
    face, colour = face_of(params), shade(params.hair, 0.82)
    if params.hairstyle == "long":
        pen.block(0.5 - face.rx - 0.07, face.top, 0.5 + face.rx + 0.07, 0.87, fill=colour, radius=0.16)
    elif params.hairstyle == "bob":
        pen.block(0.5 - face.rx - 0.075, face.top - 0.01, 0.5 + face.rx + 0.075, 0.67, fill=colour, radius=0.15)
    elif params.hairstyle == "curls":
        for dx, dy in ((-1.1, 0.2), (1.1, 0.2), (-1.05, -0.3), (1.05, -0.3), (-0.72, -0.78), (0.72, -0.78), (0, -1.0)):
            pen.oval(0.5 + dx * face.rx, face.y + dy * face.ry, 0.115, 0.115, fill=colour)
    elif params.hairstyle == "bun" and params.hat == "none":
        pen.oval(0.5, face.top - 0.055, 0.1, 0.09, fill=colour)


def _body(pen: Pen, params: PortraitParams) -> None:
    skin = shade(params.skin, 0.88)
    pen.slice(0.5, 1.04, 0.4, 0.29, start=180, end=360, fill=params.shirt)
    pen.block(0.1, 1.03, 0.9, 1.5, fill=params.shirt)
    pen.block(0.42, 0.62, 0.58, 0.8, fill=skin, radius=0.05)
    pen.shape([(0.4, 0.775), (0.6, 0.775), (0.5, 0.9)], fill=skin)
    pen.stroke([(0.395, 0.77), (0.5, 0.9), (0.605, 0.77)], fill=shade(params.shirt, 0.75), width=0.028)


def _head(pen: Pen, params: PortraitParams) -> None:
    face = face_of(params)
    for side in (-1, 1):
        pen.oval(0.5 + side * face.rx, face.y + 0.03, 0.042, 0.06, fill=shade(params.skin, 0.92))
        if params.earrings:
            pen.oval(0.5 + side * (face.rx + 0.015), face.y + 0.105, 0.024, 0.024, fill="#f7d046")
    pen.oval(face.x, face.y, face.rx, face.ry, fill=params.skin)


def _marks(pen: Pen, params: PortraitParams) -> None:
    face = face_of(params)
    for side in (-1, 1):
        x, y = 0.5 + side * face.rx * 0.6, face.y + face.ry * 0.3
        if params.blush:
            pen.oval(x, y, 0.048, 0.034, fill=_blend(params.skin, "#f0625d", 0.38))
        if params.freckles:
            for dx, dy in ((-0.028, -0.008), (0.0, 0.016), (0.028, -0.008)):
                pen.oval(x + dx, y + dy, 0.009, 0.009, fill=shade(params.skin, 0.66))


def _beard(pen: Pen, params: PortraitParams) -> None:
    face, colour = face_of(params), shade(params.hair, 0.92)
    if params.beard == "full":
        pen.slice(face.x, face.y, face.rx + 0.008, face.ry + 0.025, start=8, end=172, fill=colour)
        pen.oval(0.5, face.y + face.ry * 0.16, face.rx * 0.74, face.ry * 0.2, fill=params.skin)
    elif params.beard == "goatee":
        pen.oval(0.5, face.mouth_y + 0.058, 0.062, 0.07, fill=shade(colour, 0.8))
    if params.beard in ("moustache", "full"):
        for side in (-1, 1):
            pen.oval(0.5 + side * 0.042, face.mouth_y - 0.04, 0.056, 0.026, fill=colour)


def _eyes(pen: Pen, params: PortraitParams) -> None:
    face, radius = face_of(params), 0.034 + 0.014 * params.eye_size
    for side in (-1, 1):
        x = 0.5 + side * face.eye_dx
        pen.oval(x, face.eye_y, radius * 1.18, radius, fill="#fffdf8")
        pen.oval(x, face.eye_y + 0.003, radius * 0.74, radius * 0.82, fill=params.eyes)
        pen.oval(x, face.eye_y + 0.003, radius * 0.36, radius * 0.4, fill="#16130f")
        pen.oval(x + radius * 0.25, face.eye_y - radius * 0.3, radius * 0.22, radius * 0.22, fill="#ffffff")
        tilt = (params.brow - 0.6) * 0.035
        y = face.eye_y - radius - 0.03
        brow = [(x - side * 0.048, y + tilt), (x, y - 0.012), (x + side * 0.048, y - tilt * 0.4)]
        pen.stroke(brow, fill=shade(params.hair, 0.7), width=0.018)


def _nose(pen: Pen, params: PortraitParams) -> None:
    face = face_of(params)
    pen.oval(0.5, face.y + face.ry * 0.25, 0.024, 0.02, fill=shade(params.skin, 0.8))


def _mouth(pen: Pen, params: PortraitParams) -> None:
    y, lip = face_of(params).mouth_y, "#a23b43"
    if params.mouth == "smile":
        pen.slice(0.5, y - 0.02, 0.075, 0.062, start=0, end=180, fill=lip)
        pen.slice(0.5, y - 0.018, 0.058, 0.026, start=0, end=180, fill="#ffffff")
    elif params.mouth == "open":
        pen.oval(0.5, y + 0.004, 0.036, 0.043, fill=lip)
        pen.oval(0.5, y + 0.023, 0.022, 0.018, fill="#e58a8a")
    elif params.mouth == "smirk":
        pen.stroke([(0.45, y + 0.012), (0.51, y + 0.014), (0.56, y - 0.016)], fill=lip, width=0.022)
    else:
        pen.stroke([(0.447, y), (0.553, y)], fill=lip, width=0.022)


def _front_hair(pen: Pen, params: PortraitParams) -> None:
    if params.hairstyle == "bald":
        return
    face, colour = face_of(params), params.hair
    pen.slice(face.x, face.y - 0.005, face.rx + 0.022, face.ry + 0.025, start=198, end=342, fill=colour)
    fringe = _FRINGES.get(params.hairstyle)
    if fringe is not None:
        fringe(pen, face, colour)


def _parted(pen: Pen, face: Face, colour: str) -> None:
    for x, y, rx, ry in ((0.16, 0.09, 0.72, 0.085), (-0.66, 0.14, 0.3, 0.085)):
        pen.oval(0.5 + x * face.rx, face.top + y, rx * face.rx, ry, fill=colour)
    for side in (-1, 1):
        x = 0.5 + side * (face.rx + 0.006)
        pen.stroke([(x, face.eye_y - 0.06), (x, face.eye_y + 0.02)], fill=colour, width=0.036)


def _bob(pen: Pen, face: Face, colour: str) -> None:
    pen.block(0.5 - face.rx, face.top + 0.03, 0.5 + face.rx, face.eye_y - 0.07, fill=colour, radius=0.03)


def _long(pen: Pen, face: Face, colour: str) -> None:
    for side in (-1, 1):
        x = 0.5 + side * (face.rx + 0.025)
        lock = [(0.5 + side * 0.03, face.top + 0.015), (x - side * 0.02, face.eye_y - 0.04), (x, 0.72)]
        pen.stroke(lock, fill=colour, width=0.075)


def _curls(pen: Pen, face: Face, colour: str) -> None:
    for index in (-2, -1, 0, 1, 2):
        pen.oval(0.5 + index * face.rx * 0.47, face.top + 0.045 + 0.018 * abs(index), 0.07, 0.065, fill=colour)


def _quiff(pen: Pen, face: Face, colour: str) -> None:
    for x, y, rx, ry in ((-0.5, 0.02, 0.09, 0.07), (-0.1, -0.03, 0.12, 0.085), (0.4, -0.045, 0.115, 0.085)):
        pen.oval(0.5 + x * face.rx, face.top + y, rx, ry, fill=colour)
    pen.oval(0.5 + 0.8 * face.rx, face.top - 0.02, 0.055, 0.05, fill=colour)


_FRINGES: dict[str, Callable[[Pen, Face, str], None]] = {
    "parted": _parted,
    "bob": _bob,
    "long": _long,
    "curls": _curls,
    "quiff": _quiff,
}


def _glasses(pen: Pen, params: PortraitParams) -> None:
    if params.glasses == "none":
        return
    face, frame = face_of(params), "#26262b"
    for side in (-1, 1):
        x = 0.5 + side * max(face.eye_dx, 0.088)
        if params.glasses == "round":
            pen.arc(x, face.eye_y, 0.078, 0.078, start=0, end=360, fill=frame, width=0.017)
        elif params.glasses == "square":
            corners = [(-0.075, -0.058), (0.075, -0.058), (0.075, 0.058), (-0.075, 0.058), (-0.075, -0.058)]
            pen.stroke([(x + dx, face.eye_y + dy) for dx, dy in corners], fill="#7a2222", width=0.019)
        else:
            pen.block(x - 0.079, face.eye_y - 0.05, x + 0.079, face.eye_y + 0.06, fill=frame, radius=0.035)
            pen.stroke([(x - 0.045, face.eye_y - 0.018), (x - 0.01, face.eye_y - 0.025)], fill="#8b93a7", width=0.014)
    pen.stroke([(0.485, face.eye_y - 0.01), (0.515, face.eye_y - 0.01)], fill=frame, width=0.016)


def _hat(pen: Pen, params: PortraitParams) -> None:
    face, colour, band = face_of(params), params.accent, shade(params.accent, 0.72)
    low = face.top + 0.1
    if params.hat == "beanie":
        pen.slice(0.5, low, face.rx + 0.035, 0.2, start=180, end=360, fill=colour)
        pen.block(0.5 - face.rx - 0.04, low - 0.035, 0.5 + face.rx + 0.04, low + 0.03, fill=band, radius=0.03)
        pen.oval(0.5, low - 0.2, 0.048, 0.048, fill=band)
    elif params.hat == "cap":
        pen.slice(0.5, low, face.rx + 0.03, 0.18, start=180, end=360, fill=colour)
        pen.block(0.47, low - 0.03, 0.5 + face.rx + 0.14, low + 0.02, fill=band, radius=0.025)
    elif params.hat == "brim":
        pen.block(0.5 - face.rx * 0.78, low - 0.17, 0.5 + face.rx * 0.78, low, fill=colour, radius=0.05)
        pen.block(0.5 - face.rx * 0.78, low - 0.06, 0.5 + face.rx * 0.78, low - 0.01, fill=band)
        pen.oval(0.5, low, face.rx + 0.13, 0.034, fill=colour)


def _blend(colour: str, other: str, share: float) -> str:
    pairs = zip(bytes.fromhex(colour[1:]), bytes.fromhex(other[1:]), strict=True)
    return "#" + "".join(f"{round(a * (1 - share) + b * share):02x}" for a, b in pairs)


LAYERS: tuple[Callable[[Pen, PortraitParams], None], ...] = (
    _back_hair,
    _body,
    _head,
    _marks,
    _beard,
    _eyes,
    _nose,
    _mouth,
    _front_hair,
    _glasses,
    _hat,
)
