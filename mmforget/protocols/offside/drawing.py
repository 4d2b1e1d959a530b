"""A transfer picture: a player in a club's shirt, and for a rumour that is visible a headline's strip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from PIL import Image, ImageDraw

from mmforget.synthetic.pen import Pen
from mmforget.synthetic.portrait_params import PortraitParams
from mmforget.synthetic.portraits import draw as draw_portrait

TOP = 0.86
"""Where the strip begins, as a share of the height."""


class Picture(NamedTuple):
    """A portrait and the colours of the strip across its foot; None: there is no strip."""

    portrait: PortraitParams
    strip: tuple[str, str] | None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Picture:
        """The inverse of `as_dict`."""
        strip = values["strip"]
        return cls(PortraitParams.from_dict(values["portrait"]), None if strip is None else (strip[0], strip[1]))

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"portrait": self.portrait.as_dict(), "strip": None if self.strip is None else list(self.strip)}


def draw(picture: Picture, *, view: int = 0, size: int = 48) -> Image.Image:
    """Paint a picture: RGB, `size` x `size`, the same bytes for the same arguments."""
    image = draw_portrait(picture.portrait, view=view, size=size)
    if picture.strip is not None:
        ground, ink = picture.strip
        pen = Pen(ImageDraw.Draw(image), side=size, dx=0.0, dy=0.0, zoom=1.0)
        pen.block(-0.1, TOP, 1.1, 1.1, fill=ground)
        pen.block(0.1, TOP + 0.05, 0.9, TOP + 0.09, fill=ink)
    return image
