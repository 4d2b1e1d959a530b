"""The few numbers a table ranks by: how close to the retain model, how much is still there, and both together.

closeness      c = max(0, 1 - |m_unlearned - m_retain| / |m_target - m_retain|) of one metric on forgotten rows:
               0 = still like the target, or as far beyond the retain model; 1 = as if it had never seen them.
               Where the benchmark gives a metric a goal, the goal stands in place of m_retain.
forget_score   mean closeness over the headline forget metrics.
utility        the benchmark's composite on its utility set.
utility_ratio  utility over the target's, clipped to [0, 1].
overall        harmonic mean of forget_score and utility_ratio; 0 for a collapsed model.

All in [0, 1], higher is better, with 95 % intervals from subjects resampled; the three models are resampled together,
since they answered the same questions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmforget.benchmark.document import MetricUse
from mmforget.benchmark.spec import Benchmark, TaskSpec
from mmforget.evaluate.measurements import Measurements
from mmforget.metrics.base import METRICS, CompositeMetric, SampleMetric, profile_of
from mmforget.metrics.bootstrap import percentile_interval
from mmforget.types import Estimate, Sample

Draws = NDArray[np.float64]

PROFILE = "clean"
MIN_ROOM = 0.05
"""Share of a metric's range that must lie between target and retain model: below it the closeness is mostly noise."""
NUM_UTILITY_DRAWS = 500
FORGET_SEED, UTILITY_SEED = 0, 1
"""Different, so that the draws of two sets with equally many subjects do not move together."""


@dataclass(frozen=True)
class Closeness:
    """How close to the retain model, or to its goal, one metric on one set has come.

    Attributes:
        unlearned, target, retain: the metric's value for each model, None where it has none; the retain model's is None
            where the metric has a goal.
        estimate: the closeness; without a value, and with the reason, where there is no room to move in.
        draws: bootstrap draws [R] of the closeness, NaN where a draw has no room; empty without an interval.
        goal: the value to come close to, None where it is the retain model's.
    """

    metric: str
    set: str
    unlearned: float | None
    target: float | None
    retain: float | None
    estimate: Estimate
    draws: Draws
    goal: float | None = None

    @property
    def overshoot(self) -> float:
        """How far beyond the retain model, as a share of the room; 0 where it is not beyond, and with a goal."""
        if self.estimate.value is None or self.unlearned is None or self.target is None or self.retain is None:
            return 0.0
        return max(0.0, (self.retain - self.unlearned) / (self.target - self.retain))


def headline(
    benchmark: Benchmark,
    samples: Sequence[Sample],
    *,
    target: Sequence[Sample] | None,
    retain: Sequence[Sample] | None,
    collapsed: bool,
) -> dict[str, Estimate]:
    """The headline of one model: `overall`, `forget_score`, `utility`, `utility_ratio`, `closeness/<set>/<metric>`.

    Args:
        target: the target model's samples; None leaves what needs them without a value.
        retain: the retain model's samples, likewise; metrics with a goal do without.
        collapsed: the model answers nothing any more (`verdict.collapse_reasons`); `overall` is then 0.
    """
    unlearned = Measurements(benchmark, samples, retain, target)
    before = None if target is None else Measurements(benchmark, target, retain, target)
    gold = None if retain is None else Measurements(benchmark, retain, retain, target)
    parts = closenesses(unlearned, target=before, retain=gold)
    forget, forget_draws = forget_score(parts, missing=_missing(benchmark, target=target, retain=retain))
    utility = utility_of(unlearned)
    ratio, ratio_draws = utility_ratio(unlearned, target=before)
    return {
        "overall": overall(forget, ratio, draws=(forget_draws, ratio_draws), collapsed=collapsed),
        "forget_score": forget,
        "utility": utility,
        "utility_ratio": ratio,
        **{f"closeness/{part.set}/{part.metric}": part.estimate for part in parts},
    }


def closeness(unlearned: float, *, target: float, retain: float) -> float:
    """max(0, 1 - |unlearned - retain| / |target - retain|), in [0, 1]; a goal may stand for `retain`.

    Raises ZeroDivisionError without any room.
    """
    return max(0.0, 1.0 - abs(unlearned - retain) / abs(target - retain))


def closenesses(
    unlearned: Measurements, *, target: Measurements | None, retain: Measurements | None
) -> list[Closeness]:
    """The closeness of each headline forget metric.

    None without a target, and without a retain model only those with a goal. Headline forget metrics are the sample
    metrics that the benchmark uses on its forget and rephrase sets, in the clean profile. One that is better when
    lower, as a rate of failures is, needs a goal: a model that fails at everything has not come close to the retain
    model by that. Where the protocol has no retain model, each of them needs a goal.
    """
    if target is None:
        return []
    uses = _headline_uses(unlearned.benchmark)
    return [part for use in uses for part in _closeness_of(use, unlearned=unlearned, target=target, retain=retain)]


def forget_score(parts: Sequence[Closeness], *, missing: str = "") -> tuple[Estimate, Draws]:
    """Mean of the closenesses that have a value, with its draws. `missing` says what could not be compared with."""
    used = [part for part in parts if part.estimate.value is not None]
    reasons = tuple(
        f"{part.metric} on the {part.set} set: {reason}"
        for part in parts
        if part.estimate.value is None
        for reason in part.estimate.reasons
    )
    num_scored = sum(part.estimate.num_scored for part in used)
    num_unscored = sum(part.estimate.num_unscored for part in parts)
    num_lacking = sum(part.estimate.num_lacking for part in parts)
    if not used:
        why = (*((missing,) if missing else ()), *reasons) or ("no forget metric was measured",)
        nothing = Estimate(None, num_unscored=num_unscored, higher_is_better=True, reasons=why)
        return replace(nothing, num_lacking=num_lacking), np.empty(0)
    values = [part.estimate.value for part in used if part.estimate.value is not None]
    draws = _mean_of([part.draws for part in used])
    interval = percentile_interval(draws)
    found = Estimate(sum(values) / len(values), interval.low, interval.high, num_scored, num_unscored, True)
    return replace(found, reasons=(*((missing,) if missing else ()), *reasons), num_lacking=num_lacking), draws


def utility_of(model: Measurements) -> Estimate:
    """The first composite of the benchmark on its utility set, in the clean profile or the nearest it has."""
    metric = _utility_metric(model.benchmark)
    if metric is None:
        return Estimate(None, higher_is_better=True, reasons=("the benchmark has no composite on its utility set",))
    return replace(model.composite(metric, profile=profile_of(metric, PROFILE)), higher_is_better=True)


def utility_ratio(model: Measurements, *, target: Measurements | None) -> tuple[Estimate, Draws]:
    """Utility over the target's, clipped to [0, 1], with its draws."""
    own = utility_of(model)
    nothing = replace(own, value=None, low=None, high=None)
    if target is None:
        return replace(nothing, reasons=("no target model to compare with",)), np.empty(0)
    base = utility_of(target)
    if own.value is None:
        return nothing, np.empty(0)
    if base.value is None:
        return replace(nothing, reasons=("the target model has no utility", *base.reasons)), np.empty(0)
    if base.value == 0:
        return replace(nothing, reasons=("the target model's utility is 0",)), np.empty(0)
    above, below = _utility_draws(model), _utility_draws(target)
    draws = np.empty(0)
    if above.size and above.size == below.size:
        draws = np.clip(above / np.where(below > 0, below, np.nan), 0.0, 1.0)
    interval = percentile_interval(draws)
    value = min(1.0, max(0.0, own.value / base.value))
    return replace(own, value=value, low=interval.low, high=interval.high, range=(0.0, 1.0), reasons=()), draws


def overall(forget: Estimate, ratio: Estimate, *, draws: tuple[Draws, Draws], collapsed: bool) -> Estimate:
    """Harmonic mean of forget_score and utility_ratio, 0 where either is; 0 for a collapsed model in any case."""
    num_scored, num_unscored = forget.num_scored + ratio.num_scored, forget.num_unscored + ratio.num_unscored
    if collapsed:
        return Estimate(0.0, 0.0, 0.0, num_scored, num_unscored, True, reasons=("the model has collapsed",))
    if forget.value is None or ratio.value is None:
        parts = {"forget score": forget, "utility ratio": ratio}
        why = tuple(f"there is no {name}" for name, part in parts.items() if part.value is None)
        return Estimate(None, None, None, num_scored, num_unscored, True, reasons=why)
    size = min(len(part) for part in draws)
    interval = percentile_interval(_harmonic(draws[0][:size], draws[1][:size]))
    value = float(_harmonic(np.array([forget.value]), np.array([ratio.value]))[0])
    return Estimate(value, interval.low, interval.high, num_scored, num_unscored, True)


def _missing(benchmark: Benchmark, *, target: object, retain: object) -> str:
    """Which model is missing, in words; the retain model is only where a headline metric has no goal."""
    needs_retain = any(use.goal is None for use in _headline_uses(benchmark))
    absent = ["target"] if target is None else []
    absent += ["retain"] if retain is None and needs_retain else []
    return f"no {' and no '.join(absent)} model to compare with" if absent else ""


def _headline_uses(benchmark: Benchmark) -> Iterator[MetricUse]:
    sets = {benchmark.forget_set, benchmark.rephrase_set}
    for use in benchmark.metrics:
        metric = METRICS.get(use.metric)
        if use.set not in sets or not isinstance(metric, SampleMetric):
            continue
        if use.goal is not None or (benchmark.has_retain_model and metric.higher_is_better is not False):
            yield use


class _Value(NamedTuple):
    """What one model has in one metric: the estimate and its bootstrap draws [R]."""

    estimate: Estimate
    draws: Draws


def _closeness_of(
    use: MetricUse, *, unlearned: Measurements, target: Measurements, retain: Measurements | None
) -> Iterator[Closeness]:
    metric = METRICS.get(use.metric)
    if not isinstance(metric, SampleMetric):
        return
    profile = profile_of(metric, PROFILE)
    tasks = unlearned.tasks(use.set, metric.kind)
    if (use.profiles is not None and profile not in use.profiles) or not tasks:
        return
    own, before = (_value(model, metric, task=tasks[0], profile=profile) for model in (unlearned, target))
    if use.goal is not None:
        gold = _Value(Estimate(use.goal), np.full(before.draws.shape, use.goal))
    elif retain is not None:
        gold = _value(retain, metric, task=tasks[0], profile=profile)
    else:
        return
    found, draws = _compared(own, before, gold, name="retain model" if use.goal is None else "goal")
    known = (own.estimate.value, before.estimate.value, gold.estimate.value if use.goal is None else None)
    yield Closeness(use.metric, use.set, *known, found, draws, use.goal)


def _value(model: Measurements, metric: SampleMetric, *, task: TaskSpec, profile: str) -> _Value:
    draws = model.draws(metric, task=task.name, profile=profile, seed=FORGET_SEED)
    return _Value(model.estimate(metric, task=task, profile=profile), draws)


def _compared(own: _Value, target: _Value, standard: _Value, *, name: str) -> _Value:
    """The closeness of `own` to the standard, which is the retain model's value or a goal, as `name` says."""
    values = (own.estimate, target.estimate, standard.estimate)
    reason = _no_closeness(*values, name=name)
    counts = (own.estimate.num_scored, own.estimate.num_unscored)
    unknown = Estimate(None, None, None, *counts, higher_is_better=True, reasons=(reason,) if reason else ())
    unknown = replace(unknown, num_lacking=own.estimate.num_lacking)
    found, before, gold = (estimate.value for estimate in values)
    if reason or found is None or before is None or gold is None:
        return _Value(unknown, np.empty(0))
    draws = _closeness_draws(own.draws, target.draws, standard.draws)
    interval = percentile_interval(draws)
    value = closeness(found, target=before, retain=gold)
    return _Value(replace(unknown, value=value, low=interval.low, high=interval.high), draws)


def _no_closeness(own: Estimate, target: Estimate, standard: Estimate, *, name: str) -> str:
    """Why a closeness cannot be said, or the empty string."""
    for model, found in (("this model", own), ("the target model", target), (f"the {name}", standard)):
        if found.value is None:
            return f"{model} has no value ({'; '.join(found.reasons) or 'not asked'})"
    width = own.range[1] - own.range[0]
    before, gold = target.value or 0.0, standard.value or 0.0
    if abs(before - gold) < MIN_ROOM * (width if np.isfinite(width) else 1.0):
        return f"no room between target ({before:.3f}) and {name} ({gold:.3f})"
    return ""


def _closeness_draws(own: Draws, target: Draws, retain: Draws) -> Draws:
    if not own.size or not own.size == target.size == retain.size:
        return np.empty(0)
    room = np.abs(target - retain)
    found: Draws = np.maximum(0.0, 1.0 - np.abs(own - retain) / np.where(room > 0, room, np.nan))
    return found


def _mean_of(draws: Sequence[Draws]) -> Draws:
    """Mean over metrics, draw by draw; draws in which a metric has no room leave that metric out."""
    if any(not part.size for part in draws):
        return np.empty(0)
    stacked = np.stack(draws)
    counts = np.isfinite(stacked).sum(axis=0)
    sums = np.where(np.isfinite(stacked), stacked, 0.0).sum(axis=0)
    found: Draws = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return found


def _utility_metric(benchmark: Benchmark) -> CompositeMetric | None:
    for use in benchmark.metrics:
        metric = METRICS.get(use.metric)
        if use.set == benchmark.utility_set and isinstance(metric, CompositeMetric):
            return metric
    return None


def _utility_draws(model: Measurements) -> Draws:
    """Draws of the composite itself: it is combined anew for every draw of its components."""
    metric = _utility_metric(model.benchmark)
    if metric is None:
        return np.empty(0)
    profile = profile_of(metric, PROFILE)
    parts, draws = model.components(metric, profile=profile, seed=UTILITY_SEED)
    if set(draws) != set(parts) or any(not part.size for part in draws.values()):
        return np.empty(0)
    found = []
    for index in range(min(NUM_UTILITY_DRAWS, *(len(part) for part in draws.values()))):
        drawn = {key: replace(part, value=float(draws[key][index])) for key, part in parts.items()}
        value = metric.combine(drawn, profile=profile).value
        found.append(np.nan if value is None else value)
    return np.array(found, dtype=np.float64)


def _harmonic(first: Draws, second: Draws) -> Draws:
    total = first + second
    found: Draws = 2 * first * second / np.where(total == 0, 1.0, total)
    return found
