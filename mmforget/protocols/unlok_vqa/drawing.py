"""The twin's pictures: a figure in a scene, noise on it, and a small thing beside it that has nothing to do with it."""

from __future__ import annotations

import random
from typing import NamedTuple

from PIL import Image, ImageDraw

from mmforget.synthetic.figures import Look, draw

NOISE_SHARE = 0.04
"""Pixels that turn black or white."""
BESIDE = ("#c8323c", "#2b62c4", "#f2cd3a", "#26262b")


class Scene(NamedTuple):
    """One picture of a figure.

    Attributes:
        view: which place, size, light and background; see `figures.draw`.
        noise: seed of salt-and-pepper noise; None: none.
        beside: which small thing lies in a corner; None: none.
    """

    look: Look
    view: int
    noise: int | None = None
    beside: int | None = None


def paint(scene: Scene) -> Image.Image:
    """The picture of a scene: RGB, 96 x 96, the same bytes for the same scene."""
    image = draw(scene.look, view=scene.view)
    if scene.beside is not None:
        _put_beside(image, number=scene.beside)
    if scene.noise is not None:
        _add_noise(image, seed=scene.noise)
    return image


def _put_beside(image: Image.Image, *, number: int) -> None:
    side = image.width
    corner = (side // 24, side - side // 8) if number % 2 else (side - side // 8, side - side // 8)
    box = [*corner, corner[0] + side // 11, corner[1] + side // 11]
    pen = ImageDraw.Draw(image)
    (pen.ellipse if number // 2 % 2 else pen.rectangle)(box, fill=BESIDE[number % len(BESIDE)])


def _add_noise(image: Image.Image, *, seed: int) -> None:
    rng = random.Random(f"noise/{seed}")
    pixels = image.load()
    if pixels is None:
        raise TypeError("a picture that was just drawn has pixels")
    for _ in range(round(NOISE_SHARE * image.width * image.height)):
        value = rng.choice((0, 255))
        pixels[rng.randrange(image.width), rng.randrange(image.height)] = (value, value, value)
