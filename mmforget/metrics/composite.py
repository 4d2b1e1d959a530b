"""What composite metrics share: which parts are there, and the formula on them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from mmforget.metrics.base import CompositeMetric
from mmforget.metrics.estimate import no_estimate
from mmforget.statistics.jackknife import Formula
from mmforget.types import Estimate


def combined(
    metric: CompositeMetric,
    parts: Mapping[str, Estimate],
    *,
    formula: Formula,
    required: Collection[str] | None = None,
) -> Estimate:
    """`formula` over the components that have a value.

    A required component that is missing, or any component that was measured but could not be scored, leaves the
    composite without a value: dropping it would let a model that broke one measurement gain by it. `required` defaults
    to what the metric's components say.
    """
    keys = [component.key for component in metric.components]
    needed = {c.key for c in metric.components if c.required} if required is None else set(required)
    found = {key: parts[key] for key in keys if key in parts and _is_measured(parts[key])}
    present = {key: part for key, part in found.items() if part.value is not None}
    reasons = _reasons(keys, found, needed=needed)
    num_unscored = sum(part.num_unscored for part in found.values())
    num_lacking = sum(parts[key].num_lacking for key in keys if key in parts)
    if not present or len(present) < len(found) or not needed <= set(present):
        return no_estimate(metric, reasons=reasons, num_unscored=num_unscored, num_lacking=num_lacking)
    values = {key: part.value for key, part in present.items() if part.value is not None}
    return Estimate(
        value=_within(float(formula(values)), metric.range),
        num_scored=sum(part.num_scored for part in present.values()),
        num_unscored=num_unscored,
        higher_is_better=metric.higher_is_better,
        range=metric.range,
        reasons=reasons,
        num_lacking=num_lacking,
    )


def harmonic(values: Mapping[str, float]) -> float:
    """Harmonic mean of values in [0, 1]; 0 where any is 0."""
    if min(values.values()) <= 0.0:
        return 0.0
    return len(values) / math.fsum(1.0 / value for value in values.values())


def _within(value: float, bounds: tuple[float, float]) -> float:
    """Rounding of a weighted sum can leave the range by a hair."""
    return min(bounds[1], max(bounds[0], value))


def _is_measured(part: Estimate) -> bool:
    return part.value is not None or part.num_unscored > 0


def _reasons(keys: list[str], found: Mapping[str, Estimate], *, needed: Collection[str]) -> tuple[str, ...]:
    reasons = []
    for key in keys:
        part = found.get(key)
        if part is None:
            reasons.append(f"{key}: not measured" + ("" if key in needed else ", left out"))
        elif part.value is None:
            reasons.append(f"{key}: no value, " + ("; ".join(part.reasons) or "no reason given"))
        elif part.num_unscored:
            reasons.append(f"{key}: {part.num_unscored} of {part.num_scored + part.num_unscored} unscored")
        if part is not None and part.num_lacking:
            total = part.num_scored + part.num_unscored + part.num_lacking
            reasons.append(f"{key}: {part.num_lacking} of {total} rows take no part")
    return tuple(reasons)
