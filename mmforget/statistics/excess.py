"""Whether a number lies above another at all, told of several of them at once.

The p value of a number is the level at which its interval (`jackknife`) first holds the number it is compared with, so
that a p value of .05 and a 95 % interval say the same. Several are adjusted by Holm's rule (Scand. J. Stat. 6, 1979):
the chance that any of those is called above which is not stays below the level, however they depend on one another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

LEAST = 1e-12
"""No smaller p value is told: the intervals are no surer than that."""


def p_value(
    value: float, *, null: float, parts: Sequence[tuple[float, float]], bounds: tuple[float, float] = (-1.0, 1.0)
) -> float:
    """Two-sided p value, in [1e-12, 1], of a number that lies in `bounds`, which may be infinite, being `null`.

    Args:
        parts: the independent parts of its variance, each with its degrees of freedom.
    """
    from scipy.optimize import brentq

    distance = abs(value - null)
    error = _error_at(null, value=value, parts=parts, bounds=bounds)
    if distance == 0.0 or error == 0.0:
        return 1.0 if distance == 0.0 else LEAST

    def beyond(logarithm: float) -> float:
        return _half_width(math.exp(logarithm), parts=parts) * error - distance

    least = math.log(LEAST)
    return LEAST if beyond(least) < 0.0 else math.exp(float(brentq(beyond, least, 0.0)))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values adjusted for one another, in their order: each may be compared with the level as it is."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, least = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = least
    return adjusted


def _half_width(level: float, *, parts: Sequence[tuple[float, float]]) -> float:
    """Half the interval of confidence 1 - level, half-widths of parts adding up by squares as in `jackknife.joined`."""
    from scipy.special import stdtrit

    return math.sqrt(
        math.fsum(variance * float(stdtrit(degrees, 1.0 - level / 2.0)) ** 2 for variance, degrees in parts)
    )


def _error_at(null: float, *, value: float, parts: Sequence[tuple[float, float]], bounds: tuple[float, float]) -> float:
    """By how much the standard error at `null` exceeds that at the value, as Wilson's interval has it; 0 for none."""
    width = bounds[1] - bounds[0]
    variance = math.fsum(found for found, _ in parts)
    if not math.isfinite(width):
        return 1.0 if variance > 0.0 else 0.0
    unit = min(0.5, math.sqrt(variance) / width)
    if unit == 0.0:
        return 0.0
    inner = min(1.0 - unit, max(unit, (value - bounds[0]) / width))
    there = (null - bounds[0]) / width
    return math.sqrt(there * (1.0 - there) / (inner * (1.0 - inner)))
