"""What plain questions and attacks find in the unlearned model above the retain model: what a verdict rests on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from mmforget.attacks.base import budget_of, recovers
from mmforget.attacks.naming import known_attack
from mmforget.benchmark.spec import Benchmark
from mmforget.evaluation.headline import Number
from mmforget.evaluation.measurements import Measurements
from mmforget.metrics.attack_success import BUDGET, AttackSuccess
from mmforget.metrics.estimate import with_interval
from mmforget.results.deciding import BOUNDS, weighed
from mmforget.results.evidence import Evidence
from mmforget.statistics.jackknife import derived, interval, parts_of
from mmforget.types import Estimate, Replicates, Sample

PROFILE = "clean"


class Found(NamedTuple):
    """A line of evidence, without an outcome yet, and its excess with replicates."""

    evidence: Evidence
    excess: Number


class Sides(NamedTuple):
    """What is found in three models."""

    own: Number
    target: Number
    retain: Number


def evidence_of(
    benchmark: Benchmark,
    samples: Sequence[Sample],
    *,
    target: Sequence[Sample] | None,
    retain: Sequence[Sample] | None,
) -> list[Found]:
    """A line for the plain questions of every task on what was to be forgotten, and for every attack made on them.

    The three models are compared without each subject in turn, since they answered the same questions.
    """
    own = Measurements(benchmark, samples)
    models = (own, *(None if other is None else Measurements(benchmark, other) for other in (target, retain)))
    found = []
    for task in (one.name for one in own.tasks(benchmark.forget_set, "gen")):
        for attack, access, metric in _asked(own, task):
            sides = Sides(*(_side(model, metric, task=task, attack=attack) for model in models))
            if any(side.estimate.value is not None for side in sides):
                found.append(_line(task, attack, access=access, sides=sides))
    return found


def _asked(own: Measurements, task: str) -> Iterator[tuple[str | None, str, AttackSuccess]]:
    """The plain questions, and every attack that tries to get a forgotten answer back, with its access and measure."""
    yield None, "black_box", AttackSuccess()
    for key in own.answers.attacks_on(task):
        attack = known_attack(key)
        if attack is not None and recovers(attack):
            yield key, attack.access, AttackSuccess(budget_of(attack) or BUDGET)


def _side(model: Measurements | None, metric: AttackSuccess, *, task: str, attack: str | None) -> Number:
    if model is None or not model.of_task(task, attack=attack):
        return Number(Estimate(None))
    estimate = metric.aggregate(model.scores(metric, task=task, profile=PROFILE, attack=attack))
    return Number(estimate, model.replicates(metric, task=task, profile=PROFILE, attack=attack))


def _line(task: str, attack: str | None, *, access: str, sides: Sides) -> Found:
    own, target, retain = (side.estimate for side in sides)
    line = Evidence(
        attack, task, access, own.num_scored, own.num_unscored, own.num_subjects or 0,
        unlearned=own.value, target=target.value, retain=retain.value,
    )  # fmt: skip
    nothing = replace(own, value=None, low=None, high=None, range=BOUNDS, higher_is_better=False)
    if sides.own.replicates is None or sides.retain.replicates is None:
        return Found(line, Number(nothing))
    excess = _less(sides.own.replicates, sides.retain.replicates)
    estimate = with_interval(replace(nothing, value=excess.value, reasons=()), excess, bounds=BOUNDS)
    line = replace(line, excess=estimate.value, low=estimate.low, high=estimate.high, num_subjects=excess.num_subjects)
    if not _is_telling(sides.target.replicates, sides.retain.replicates):
        return Found(line, Number(estimate, excess))
    return Found(weighed(line, parts=parts_of(excess)), Number(estimate, excess))


def _less(first: Replicates, second: Replicates) -> Replicates:
    return derived(lambda values: values["first"] - values["second"], {"first": first, "second": second})


def _is_telling(target: Replicates | None, retain: Replicates) -> bool:
    """Whether surely more is found in the target than in the retain model."""
    if target is None:
        return False
    low = interval(_less(target, retain), bounds=BOUNDS).low
    return low is not None and low > 0.0
