"""How near a number has come to a standard, as replicates: what a distance that is folded and cut off is worth.

nearness = max(0, 1 - |s|), s = (own - standard) / (target - standard). s itself varies like any other number; its
distance from 0 does not. Chance alone moves a number away from its standard, so that a model which is exactly as the
standard is measured below 1, and that never above. Hence an interval from `most` = 1 upwards wherever s may be 0.
"""

from __future__ import annotations

import math
from dataclasses import replace

from mmforget.statistics.jackknife import MIN_SUBJECTS, derived, spread
from mmforget.types import Replicates

SEVERAL = 1.3
"""How much wider than one 95 % interval the reach is within which s counts as perhaps 0: several distances that are
averaged are all to be there at once. Normal quantile at .05 / 5 over that at .05."""


def nearness(own: Replicates, *, target: Replicates, standard: Replicates | float) -> Replicates:
    """Replicates of max(0, 1 - |own - standard| / |target - standard|); a standard may be a fixed number.

    Where it is surely 0, it does not move. Raises ZeroDivisionError where target and standard are equal.
    """
    fixed = standard if isinstance(standard, float) else None
    parts = {"own": own, "target": target}
    parts |= {} if isinstance(standard, float) else {"standard": standard}
    signed = derived(
        lambda values: _share(values["own"], values["target"], fixed if fixed is not None else values["standard"]),
        parts,
    )
    rest = 1.0 - abs(signed.value)
    if signed.num_subjects < MIN_SUBJECTS:
        return Replicates(max(0.0, rest), signed.num_subjects)
    reach = SEVERAL * _half_width(signed)
    if rest < -reach:
        return Replicates(0.0, signed.num_subjects, dict.fromkeys(signed.shifts, 0.0), signed.degrees)
    value = max(0.0, rest)
    return replace(
        signed,
        value=value,
        shifts={name: -math.copysign(1.0, signed.value) * shift for name, shift in signed.shifts.items()},
        least=0.0 if rest <= reach else value,
        most=1.0 if abs(signed.value) <= reach else value,
    )


def one_sided(own: Replicates, *, target: Replicates, standard: Replicates | float) -> Replicates:
    """Replicates of (target - own) / (target - standard), cut off at 0 and 1: beyond the standard is as good as there.

    Raises ZeroDivisionError where target and standard are equal.
    """
    parts = {"own": own, "target": target}
    parts |= {} if isinstance(standard, float) else {"standard": standard}
    share = derived(
        lambda values: (
            1.0
            - _share(values["own"], values["target"], standard if isinstance(standard, float) else values["standard"])
        ),
        parts,
    )
    found = at_most_one(share)
    least, most = (None if end is None else max(0.0, end) for end in (found.least, found.most))
    return replace(found, value=max(0.0, found.value), least=least, most=most)


def within_noise(first: Replicates, second: Replicates | float) -> float | None:
    """Half the 95 % interval of the difference where that holds 0; None where the two differ, or nobody can tell."""
    if isinstance(second, float):
        difference = derived(lambda values: values["first"] - second, {"first": first})
    else:
        difference = derived(lambda values: values["first"] - values["second"], {"first": first, "second": second})
    if difference.num_subjects < MIN_SUBJECTS:
        return None
    width = _half_width(difference)
    return width if abs(difference.value) <= width else None


def at_most_one(ratio: Replicates) -> Replicates:
    """A ratio that is cut off at 1: measured a little below it may be 1, and surely above it does not move."""
    if ratio.num_subjects < MIN_SUBJECTS:
        value = min(1.0, ratio.value)
        return replace(ratio, value=value, least=value, most=value)
    reach = _half_width(ratio)
    if ratio.value > 1.0 + reach:
        return Replicates(1.0, ratio.num_subjects, dict.fromkeys(ratio.shifts, 0.0), ratio.degrees)
    value = min(1.0, ratio.value)
    return replace(ratio, value=value, least=value, most=1.0 if ratio.value >= 1.0 - reach else value)


def _share(own: float, target: float, standard: float) -> float:
    return (own - standard) / (target - standard)


def _half_width(replicates: Replicates) -> float:
    variance, quantile = spread(replicates)
    return quantile * math.sqrt(variance)
