"""What portraits are drawn from: styles, colours, shapes and marks, and the same as a vector."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmforget.errors import UserError

HAIRSTYLES = ("bald", "crop", "parted", "curls", "bob", "long", "bun", "quiff")
HATS = ("none", "beanie", "cap", "brim")
GLASSES = ("none", "round", "square", "dark")
BEARDS = ("none", "moustache", "goatee", "full")
MOUTHS = ("smile", "calm", "open", "smirk")
PATTERNS = ("plain", "horizon", "stripes", "sun")

SKINS = ("#fbe0cd", "#f0c39d", "#dda273", "#b97a4b", "#8a5531", "#5c3720")
HAIR_COLOURS = ("#1f1b1c", "#4a2c1a", "#8a5a2b", "#d9a441", "#b8452a", "#b9bcc4", "#3b5ea8", "#a8518f")
EYES = ("#5b3a1e", "#2f7a4d", "#2b6cb8", "#6a7280")
BACKGROUNDS = ("#a9d6e5", "#f6d186", "#b7e4c7", "#f4b6a6", "#cdb4db", "#e9e4d4", "#8fa8c8", "#d4e09b")
FABRICS = ("#d1495b", "#00798c", "#edae49", "#30638e", "#4f772d", "#6d597a", "#f2f2ef", "#33363d")

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
