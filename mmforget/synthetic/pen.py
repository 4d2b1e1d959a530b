"""A pen for pictures in unit coordinates, (0, 0) top left and (1, 1) bottom right, and shades of its colours."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import ImageDraw

Point = tuple[float, float]


class Pen:
    """Draws on a square image in unit coordinates, seen through a camera that shifts and zooms about the centre."""

    def __init__(self, draw: ImageDraw.ImageDraw, *, side: int, dx: float, dy: float, zoom: float) -> None:
        self.draw, self.side, self.dx, self.dy, self.zoom = draw, side, dx, dy, zoom

    def at(self, x: float, y: float) -> Point:
        """Pixel position of a unit position."""
        return (
            (0.5 + (x - 0.5) * self.zoom + self.dx) * self.side,
            (0.5 + (y - 0.5) * self.zoom + self.dy) * self.side,
        )

    def box(self, x: float, y: float, rx: float, ry: float) -> list[Point]:
        return [self.at(x - rx, y - ry), self.at(x + rx, y + ry)]

    def oval(self, x: float, y: float, rx: float, ry: float, *, fill: str) -> None:
        self.draw.ellipse(self.box(x, y, rx, ry), fill=fill)

    def slice(self, x: float, y: float, rx: float, ry: float, *, start: float, end: float, fill: str) -> None:
        """Part of an oval cut by a chord; degrees clockwise from three o'clock."""
        self.draw.chord(self.box(x, y, rx, ry), start=start, end=end, fill=fill)

    def block(self, left: float, top: float, right: float, bottom: float, *, fill: str, radius: float = 0.0) -> None:
        corners = [self.at(left, top), self.at(right, bottom)]
        self.draw.rounded_rectangle(corners, radius=radius * self.side * self.zoom, fill=fill)

    def shape(self, points: Sequence[Point], *, fill: str) -> None:
        self.draw.polygon([self.at(x, y) for x, y in points], fill=fill)

    def stroke(self, points: Sequence[Point], *, fill: str, width: float) -> None:
        """A round-ended line; `width` in unit lengths."""
        pixels = [self.at(x, y) for x, y in points]
        thick = max(1, round(width * self.side * self.zoom))
        self.draw.line(pixels, fill=fill, width=thick, joint="curve")
        for x, y in (pixels[0], pixels[-1]):
            half = thick / 2
            self.draw.ellipse([(x - half, y - half), (x + half, y + half)], fill=fill)

    def arc(
        self, x: float, y: float, rx: float, ry: float, *, start: float, end: float, fill: str, width: float
    ) -> None:
        thick = max(1, round(width * self.side * self.zoom))
        self.draw.arc(self.box(x, y, rx, ry), start=start, end=end, fill=fill, width=thick)


def shade(colour: str, factor: float) -> str:
    """A colour made darker (factor below 1) or lighter (above 1)."""
    return "#" + "".join(f"{min(255, round(channel * factor)):02x}" for channel in bytes.fromhex(colour[1:]))
