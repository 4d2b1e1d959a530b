"""Amounts of an attack that is made several times, the mildest first."""

from __future__ import annotations

from collections.abc import Sequence

from mmforget.errors import UserError


def doubling(most: int) -> tuple[int, ...]:
    """1, 2, 4, ... below a number, and the number itself."""
    return (*(2**n for n in range(most.bit_length()) if 2**n < most), most)


def require_rising(name: str, values: Sequence[float]) -> None:
    """Raises UserError, which calls the argument, where there are none, or they do not rise from above 0."""
    if not values or list(values) != sorted({*values}) or values[0] <= 0:
        raise UserError(f"{name}={list(values)} is not allowed; give numbers above 0 that rise, e.g. {name}=[0.1,0.2]")
