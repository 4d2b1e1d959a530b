"""What every attack must keep to, tried on toy questions: what is no attack is found before a model is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from mmforget.asking import Ask, Decoding
from mmforget.attacks.base import attempts_at, build_attack
from mmforget.errors import PluginError

COLOURS = ((200, 30, 30), (30, 30, 200))


def toy_asks() -> list[Ask]:
    """A text to write and an answer to score, each with and without a picture."""
    plain = [
        Ask("generate", "toy", "Who is this?", None, (), (), Decoding(8), where="toy question"),
        Ask("score", "toy", "Who is this?", " Ann.", (), (), where="toy question"),
    ]
    pictures = [Image.new("RGB", (8, 6), colour) for colour in COLOURS]
    return plain + [ask.showing([picture]) for ask, picture in zip(plain, pictures, strict=True)]


def check_attack(name: str, args: Mapping[str, Any] | None = None) -> None:
    """Tries an attack on toy questions. Raises PluginError with what is wrong, and what `build_attack` raises."""
    attack = build_attack(name, args or {})
    for ask in toy_asks():
        first, again = ([one.key("toy") for one in attempts_at(ask, attack=attack, name=name)] for _ in range(2))
        if first != again:
            raise PluginError(f"attack '{name}': asks gives other attempts when it is called again")
