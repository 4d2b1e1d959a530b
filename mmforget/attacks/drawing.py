"""Random draws of attacks: the same every time for the same row, picture and seed."""

from __future__ import annotations

import numpy as np

from mmforget.results.fingerprint import hash_json


def drawn_by(*names: str | int) -> np.random.Generator:
    """The generator that these names and numbers, in this order, stand for."""
    return np.random.default_rng(int(hash_json(list(names))[:16], 16))
