"""What composite metrics share: which parts are there, the formula on them, and an interval from their draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmforget.metrics.base import Component, CompositeMetric
from mmforget.metrics.bootstrap import percentile_interval
from mmforget.metrics.estimate import no_estimate
from mmforget.types import Estimate

Draws = Mapping[str, NDArray[np.float64]]
# On floats for the value, on arrays [R] for the interval, with the same code.
Formula = Callable[[Mapping[str, Any]], Any]


def combined(metric: CompositeMetric, parts: Mapping[str, Estimate], *, formula: Formula, draws: Draws | None) -> Estimate:
    """`formula` over the components that have a value.

    A required component that is missing, or any component that was measured but could not be scored, leaves the
    composite without a value: dropping it would let a model that broke one measurement gain by it.
    """
    present = {c.key: parts[c.key] for c in metric.components if c.key in parts and parts[c.key].value is not None}
    reasons = [*_absent(metric.components, parts), *_partial(present)]
    if not present or _blocking(metric.components, parts):
        return no_estimate(metric, reasons=reasons, num_unscored=sum(part.num_unscored for part in parts.values()))
    interval = _interval(present, formula=formula, draws=draws)
    return Estimate(
        value=float(formula({key: float(part.value or 0.0) for key, part in present.items()})),
        low=interval[0],
        high=interval[1],
        num_scored=sum(part.num_scored for part in present.values()),
        num_unscored=sum(part.num_unscored for part in present.values()),
        higher_is_better=metric.higher_is_better,
        range=metric.range,
        reasons=tuple(reasons),
    )


def harmonic(values: Mapping[str, Any]) -> Any:
    """Harmonic mean of values in [0, 1], floats or arrays of equal length; 0 where any is 0."""
    stacked = np.stack([np.asarray(value, dtype=np.float64) for value in values.values()])
    smallest = stacked.min(axis=0)
    safe = np.where(stacked > 0, stacked, 1.0)
    return np.where(smallest > 0, len(stacked) / (1.0 / safe).sum(axis=0), 0.0)


def _is_measured(part: Estimate) -> bool:
    return part.num_scored > 0 or part.num_unscored > 0


def _absent(components: Sequence[Component], parts: Mapping[str, Estimate]) -> list[str]:
    found = []
    for component in components:
        part = parts.get(component.key)
        if part is None or (part.value is None and not _is_measured(part)):
            found.append(f"{component.key}: not measured" + ("" if component.required else ", left out"))
        elif part.value is None:
            found.append(f"{component.key}: no value, " + ("; ".join(part.reasons) or "no reason given"))
    return found


def _blocking(components: Sequence[Component], parts: Mapping[str, Estimate]) -> bool:
    for component in components:
        part = parts.get(component.key)
        if part is not None and part.value is None and _is_measured(part):
            return True
        if component.required and (part is None or part.value is None):
            return True
    return False


def _partial(present: Mapping[str, Estimate]) -> list[str]:
    return [
        f"{key}: {part.num_unscored} of {part.num_scored + part.num_unscored} unscored"
        for key, part in present.items()
        if part.num_unscored
    ]


def _interval(
    present: Mapping[str, Estimate], *, formula: Formula, draws: Draws | None
) -> tuple[float | None, float | None]:
    if draws is None or any(key not in draws or draws[key].size == 0 for key in present):
        return None, None
    interval = percentile_interval(np.asarray(formula({key: draws[key] for key in present}), dtype=np.float64))
    return interval.low, interval.high
