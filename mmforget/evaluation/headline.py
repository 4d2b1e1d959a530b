"""The few numbers a table ranks by: how close to the retain model, how much is still there, and both together.

closeness      c = max(0, 1 - |m_unlearned - m_retain| / |m_target - m_retain|) of one metric on forgotten rows:
               0 = still like the target, or as far beyond the retain model; 1 = as if it had never seen them.
               Where the benchmark gives a metric a goal, the goal stands in place of m_retain. Of a metric of what
               is disclosed, less than the retain model's is as good as that.
forget_score   harmonic mean of the closeness of each metric of what is disclosed and of the mean closeness of all
               others: who gives away what was to be forgotten has not forgotten it, however unlike the reference.
utility        the benchmark's composite on its utility set.
utility_ratio  what pictures add to the utility, over what they add to the target's: (u - b) / (u_target - b_target),
               clipped to [0, 1]. b is the utility with grey pictures; in the numerator the larger of the model's and
               the target's, since what the wording of a question gives away is no sight. In text alone b is 0.
overall        harmonic mean of forget_score and utility_ratio; 0 for a collapsed model.

All in [0, 1], higher is better, with 95 % intervals by subject; the three models are compared without each subject in
turn, since they answered the same questions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from mmforget.benchmark.document import MetricUse
from mmforget.benchmark.spec import Benchmark, TaskSpec
from mmforget.evaluation.answers import Answers
from mmforget.evaluation.measurements import Measurements
from mmforget.evaluation.samples import BLANK_IMAGE
from mmforget.metrics.arguments import metric_of
from mmforget.metrics.base import CompositeMetric, SampleMetric, discloses, profile_of
from mmforget.metrics.composite import harmonic
from mmforget.metrics.estimate import with_interval
from mmforget.statistics.jackknife import derived
from mmforget.statistics.nearness import at_most_one, nearness, one_sided, within_noise
from mmforget.types import Estimate, Replicates, Sample

PROFILE = "clean"
MIN_ROOM = 0.05
"""Share of a metric's range that must lie between target and retain model: below it the closeness is mostly noise."""
NO_CONTROL = "not asked with grey pictures: what is known without looking counts as utility"
ENDLESS = (-math.inf, math.inf)
"""Distances are as uncertain near their bounds as elsewhere, unlike rates."""


Near = Callable[..., Replicates]


class Number(NamedTuple):
    """An estimate, and what it is made of without each subject; None where it has no value or no subjects."""

    estimate: Estimate
    replicates: Replicates | None = None


@dataclass(frozen=True)
class Closeness:
    """How close to the retain model, or to its goal, one metric on one set has come.

    Attributes:
        metric: its key, which has its arguments.
        unlearned, target, retain: the metric's value for each model, None where it has none; the retain model's is None
            where the metric has a goal.
        estimate: the closeness; without a value, and with the reason, where there is no room to move in.
        replicates: the closeness without each subject; None where it has no value.
        goal: the value to come close to, None where it is the retain model's.
        is_disclosure: whether the metric says how much an answer gives away of what was to be forgotten.
    """

    metric: str
    set: str
    unlearned: float | None
    target: float | None
    retain: float | None
    estimate: Estimate
    replicates: Replicates | None = None
    goal: float | None = None
    is_disclosure: bool = False

    @property
    def overshoot(self) -> float:
        """How far beyond the retain model, as a share of the room; 0 where it is not beyond, and with a goal."""
        if self.estimate.value is None or self.unlearned is None or self.target is None or self.retain is None:
            return 0.0
        if self.is_disclosure:
            return 0.0
        return max(0.0, (self.retain - self.unlearned) / (self.target - self.retain))


class Headline(NamedTuple):
    """The numbers of one model, `overall`, `forget_score`, `utility`, `utility_ratio`, `closeness/<set>/<metric>`.

    Attributes:
        numbers: each with its replicates, of which those of several seeds are put together.
        parts: what the forget score is made of.
    """

    numbers: Mapping[str, Number]
    parts: Sequence[Closeness]

    @property
    def estimates(self) -> dict[str, Estimate]:
        return {name: number.estimate for name, number in self.numbers.items()}


def headline(
    benchmark: Benchmark,
    samples: Sequence[Sample],
    *,
    target: Sequence[Sample] | None,
    retain: Sequence[Sample] | None,
    collapsed: bool,
) -> Headline:
    """The headline of one model.

    Args:
        target: the target model's samples; None leaves what needs them without a value.
        retain: the retain model's samples, likewise; metrics with a goal do without.
        collapsed: the model answers nothing any more (`collapse.signs_of_collapse`); `overall` is then 0.
    """
    unlearned = Measurements(benchmark, samples, retain, target)
    before, gold = (None if other is None else _measured(other, unlearned=unlearned) for other in (target, retain))
    parts = closenesses(unlearned, target=before, retain=gold)
    forget = forget_score(parts, missing=_missing(benchmark, target=target, retain=retain))
    ratio = utility_ratio(unlearned, target=before)
    num_subjects = len({sample.subject for sample in samples if sample.set == benchmark.forget_set})
    found = {
        "overall": overall(forget, ratio, collapsed=collapsed, num_subjects=num_subjects),
        "forget_score": forget,
        "utility": _utility(unlearned),
        "utility_ratio": ratio,
        **{f"closeness/{part.set}/{part.metric}": Number(part.estimate, part.replicates) for part in parts},
    }
    return Headline(found, parts)


def _measured(other: Sequence[Sample], *, unlearned: Measurements) -> Measurements:
    """Another model, or the same where it is its own reference: what its scores hide, they then hide in both."""
    answers = Answers.of(other)
    if answers == unlearned.answers:
        return unlearned
    return Measurements(unlearned.benchmark, answers, unlearned.retain, unlearned.target)


def closenesses(
    unlearned: Measurements, *, target: Measurements | None, retain: Measurements | None
) -> list[Closeness]:
    """The closeness of each headline forget metric.

    None without a target, and without a retain model only those with a goal. Headline forget metrics are the sample
    metrics that the benchmark uses on its forget and rephrase sets, in the clean profile, but for those that it keeps
    out of the headline. One that is better when lower, as a rate of failures is, needs a goal: a model that fails at
    everything has not come close to the retain model by that. Where the protocol has no retain model, each of them
    needs a goal.
    """
    if target is None:
        return []
    uses = _headline_uses(unlearned.benchmark)
    return [part for use in uses for part in _closeness_of(use, unlearned=unlearned, target=target, retain=retain)]


def forget_score(parts: Sequence[Closeness], *, missing: str = "") -> Number:
    """Harmonic mean over what is disclosed and the mean of all else, of what has a value.

    `missing` says what could not be compared with.
    """
    used = {f"{part.set}/{part.metric}": part for part in parts if part.estimate.value is not None}
    reasons = tuple(
        f"{part.metric} on the {part.set} set: {reason}"
        for part in parts
        if part.estimate.value is None
        for reason in part.estimate.reasons
    )
    num_unscored = sum(part.estimate.num_unscored for part in parts)
    num_lacking = sum(part.estimate.num_lacking for part in parts)
    said = (*((missing,) if missing else ()), *reasons)
    nothing = Estimate(None, num_unscored=num_unscored, num_lacking=num_lacking, higher_is_better=True, reasons=said)
    if not used:
        return Number(replace(nothing, reasons=said or ("no forget metric was measured",)))
    num_scored = sum(part.estimate.num_scored for part in used.values())
    bounds = frozenset(key for key, part in used.items() if part.is_disclosure)
    found = derived(
        lambda values: _bounded_mean(values, bounds=bounds),
        {key: part.replicates for key, part in used.items() if part.replicates is not None},
    )
    estimate = replace(nothing, value=found.value, num_scored=num_scored)
    return Number(with_interval(estimate, found, bounds=ENDLESS), found)


def utility_of(model: Measurements) -> Estimate:
    """The first composite of the benchmark on its utility set, in the clean profile or the nearest it has."""
    return _utility(model).estimate


def _utility(model: Measurements) -> Number:
    metric = utility_metric(model.benchmark)
    if metric is None:
        why = ("the benchmark has no composite on its utility set",)
        return Number(Estimate(None, higher_is_better=True, reasons=why))
    estimate, replicates = model.composed(metric, profile=profile_of(metric, PROFILE))
    return Number(replace(estimate, higher_is_better=True), replicates)


def utility_ratio(model: Measurements, *, target: Measurements | None) -> Number:
    """What pictures add to the utility over what they add to the target's, clipped to [0, 1]."""
    own, own_replicates = _utility(model)
    nothing = replace(own, value=None, low=None, high=None, num_subjects=None)
    if target is None:
        return Number(replace(nothing, reasons=("no target model to compare with",)))
    base, base_replicates = _utility(target)
    if own.value is None:
        return Number(nothing)
    if base.value is None:
        return Number(replace(nothing, reasons=("the target model has no utility", *base.reasons)))
    if base.value == 0:
        return Number(replace(nothing, reasons=("the target model's utility is 0",)))
    grey, reason = _with_grey_pictures(model, target=target, utility=base.value)
    sides = {"own": Number(own, own_replicates), "base": Number(base, base_replicates), **grey}
    values = {name: side.estimate.value for name, side in sides.items() if side.estimate.value is not None}
    value = min(1.0, _ratio(values))
    estimate = replace(nothing, value=value, range=(0.0, 1.0), reasons=(reason,) if reason else ())
    parts = {name: side.replicates for name, side in sides.items() if side.replicates is not None}
    if len(parts) < len(sides):
        return Number(estimate)
    found = at_most_one(derived(_ratio, parts))
    return Number(with_interval(estimate, found, bounds=ENDLESS), found)


def _with_grey_pictures(model: Measurements, *, target: Measurements, utility: float) -> tuple[dict[str, Number], str]:
    """What both models have with grey pictures, as `own_grey` and `base_grey`; none and why where it does not count."""
    metric = utility_metric(model.benchmark)
    if metric is None or model.benchmark.modality == "text":
        return {}, ""
    if not all(one.was_asked(metric, attack=BLANK_IMAGE) for one in (model, target)):
        return {}, NO_CONTROL
    profile = profile_of(metric, PROFILE)
    own, base = (Number(*one.composed(metric, profile=profile, attack=BLANK_IMAGE)) for one in (model, target))
    if own.estimate.value is None or base.estimate.value is None:
        return {}, NO_CONTROL
    if utility - base.estimate.value < MIN_ROOM:
        return (
            {},
            f"pictures add next to nothing to the target model's utility ({base.estimate.value:.3f} with grey ones)",
        )
    return {"own_grey": own, "base_grey": base}, ""


def overall(forget: Number, ratio: Number, *, collapsed: bool, num_subjects: int = 0) -> Number:
    """Harmonic mean of forget_score and utility_ratio, 0 where either is; 0 for a collapsed model in any case.

    Args:
        num_subjects: of the forget set, for a collapsed model, whose 0 does not depend on them.
    """
    sides = {"forget score": forget, "utility ratio": ratio}
    num_scored, num_unscored = (
        sum(getattr(side.estimate, name) for side in sides.values()) for name in ("num_scored", "num_unscored")
    )
    unknown = Estimate(None, None, None, num_scored, num_unscored, True)
    if collapsed:
        sure = replace(unknown, value=0.0, low=0.0, high=0.0, reasons=("the model has collapsed",))
        return Number(replace(sure, num_subjects=num_subjects), Replicates(0.0, num_subjects))
    absent = tuple(f"there is no {name}" for name, side in sides.items() if side.estimate.value is None)
    if absent:
        return Number(replace(unknown, reasons=absent))
    values = {name: side.estimate.value for name, side in sides.items() if side.estimate.value is not None}
    estimate = replace(unknown, value=harmonic(values))
    parts = {name: side.replicates for name, side in sides.items() if side.replicates is not None}
    if len(parts) < len(sides):
        return Number(estimate)
    found = derived(harmonic, parts)
    return Number(with_interval(estimate, found, bounds=ENDLESS), found)


def _missing(benchmark: Benchmark, *, target: object, retain: object) -> str:
    """Which model is missing, in words; the retain model is only where a headline metric has no goal."""
    needs_retain = any(use.goal is None for use in _headline_uses(benchmark))
    absent = ["target"] if target is None else []
    absent += ["retain"] if retain is None and needs_retain else []
    return f"no {' and no '.join(absent)} model to compare with" if absent else ""


def _headline_uses(benchmark: Benchmark) -> Iterator[MetricUse]:
    sets = {benchmark.forget_set, benchmark.rephrase_set}
    for use in benchmark.metrics:
        metric = metric_of(use, document=benchmark.name)
        if not use.headline or use.set not in sets or not isinstance(metric, SampleMetric):
            continue
        if use.goal is not None or (benchmark.has_retain_model and metric.higher_is_better is not False):
            yield use


def _closeness_of(
    use: MetricUse, *, unlearned: Measurements, target: Measurements, retain: Measurements | None
) -> Iterator[Closeness]:
    metric = metric_of(use, document=unlearned.benchmark.name)
    if not isinstance(metric, SampleMetric):
        return
    profile = profile_of(metric, PROFILE)
    tasks = unlearned.tasks(use.set, metric.kind)
    if (use.profiles is not None and profile not in use.profiles) or not tasks:
        return
    own, before = (_value(model, metric, task=tasks[0], profile=profile) for model in (unlearned, target))
    if use.goal is not None:
        gold = Number(Estimate(use.goal))
    elif retain is not None:
        gold = _value(retain, metric, task=tasks[0], profile=profile)
    else:
        return
    name = "retain model" if use.goal is None else "goal"
    found, replicates = _compared(own, before, gold, name=name, near=one_sided if discloses(metric) else nearness)
    known = (own.estimate.value, before.estimate.value, gold.estimate.value if use.goal is None else None)
    yield Closeness(use.key, use.set, *known, found, replicates, use.goal, discloses(metric))


def _value(model: Measurements, metric: SampleMetric, *, task: TaskSpec, profile: str) -> Number:
    estimate = model.estimate(metric, task=task, profile=profile)
    return Number(estimate, model.replicates(metric, task=task.name, profile=profile))


def _compared(own: Number, target: Number, standard: Number, *, name: str, near: Near) -> Number:
    """The closeness of `own` to the standard, which is the retain model's value or a goal, as `name` says."""
    reason = _no_closeness(own.estimate, target.estimate, standard.estimate, name=name)
    counts = (own.estimate.num_scored, own.estimate.num_unscored)
    unknown = Estimate(None, None, None, *counts, higher_is_better=True, reasons=(reason,) if reason else ())
    unknown = replace(unknown, num_lacking=own.estimate.num_lacking)
    gold = standard.replicates if standard.replicates is not None else standard.estimate.value
    if reason or own.replicates is None or target.replicates is None or gold is None:
        return Number(unknown)
    noise = within_noise(target.replicates, gold)
    if noise is not None:
        why = (
            f"the {_room(target.estimate, standard.estimate, name=name)} is within its noise (95 %: {noise:.3f} around)"
        )
        return Number(replace(unknown, reasons=(why,), num_subjects=own.replicates.num_subjects))
    found = near(own.replicates, target=target.replicates, standard=gold)
    return Number(with_interval(replace(unknown, value=found.value), found, bounds=ENDLESS), found)


def _no_closeness(own: Estimate, target: Estimate, standard: Estimate, *, name: str) -> str:
    """Why a closeness cannot be said, or the empty string."""
    for model, found in (("this model", own), ("the target model", target), (f"the {name}", standard)):
        if found.value is None:
            return f"{model} has no value ({'; '.join(found.reasons) or 'not asked'})"
    width = own.range[1] - own.range[0]
    before, gold = target.value or 0.0, standard.value or 0.0
    if abs(before - gold) < MIN_ROOM * (width if math.isfinite(width) else 1.0):
        return f"no {_room(target, standard, name=name)}"
    return ""


def _room(target: Estimate, standard: Estimate, *, name: str) -> str:
    return f"room between target ({target.value:.3f}) and {name} ({standard.value:.3f})"


def _bounded_mean(values: Mapping[str, float], *, bounds: Collection[str]) -> float:
    """Harmonic mean of the values that bound the others and of the others' mean."""
    others = [value for key, value in values.items() if key not in bounds]
    groups = {key: value for key, value in values.items() if key in bounds}
    return harmonic({**groups, **({"others": math.fsum(others) / len(others)} if others else {})})


def _ratio(values: Mapping[str, float]) -> float:
    """(own - grey) / (base - grey), at least 0."""
    floor = values.get("base_grey", 0.0)
    room, gain = values["base"] - floor, values["own"] - max(floor, values.get("own_grey", 0.0))
    return max(0.0, gain / room) if room > 0.0 else 0.0


def utility_metric(benchmark: Benchmark) -> CompositeMetric | None:
    """The first composite of a benchmark on its utility set; None where it has none."""
    for use in benchmark.metrics:
        metric = metric_of(use, document=benchmark.name)
        if use.set == benchmark.utility_set and isinstance(metric, CompositeMetric):
            return metric
    return None
