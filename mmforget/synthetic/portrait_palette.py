"""The styles and colours that portraits are made of."""

from __future__ import annotations

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
