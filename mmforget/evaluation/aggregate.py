"""From samples to metric results: every metric a benchmark uses, in every profile it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from mmforget.attacks.base import budget_of, recovers
from mmforget.attacks.comparing import metrics_of
from mmforget.attacks.naming import known_attack
from mmforget.benchmark.document import MetricUse
from mmforget.benchmark.spec import Benchmark, TaskSpec
from mmforget.evaluation.measurements import Measurements
from mmforget.metrics.arguments import metric_of
from mmforget.metrics.attack_success import BUDGET
from mmforget.metrics.base import (
    CompositeMetric,
    Metric,
    ReferenceMetric,
    SampleMetric,
    reads_attempts,
    unasked_profiles,
)
from mmforget.results.schema import MetricResult
from mmforget.types import Estimate, Sample


def aggregate(
    benchmark: Benchmark,
    samples: Sequence[Sample],
    *,
    retain: Sequence[Sample] | None = None,
    target: Sequence[Sample] | None = None,
) -> list[MetricResult]:
    """All numbers of one model, in the order of the benchmark's document; needs no model.

    A metric on a set gives one result for each task and profile, the benchmark's own modality first, and one more for
    each attack that was asked, over all of its attempts. A set that was not asked gives none. What needs another model
    and has none, or could not be scored, is there without a value and with the reason. Where attacks on what was
    forgotten were made, their success is there, whether or not the document names it.

    Args:
        samples: everything the model was asked, attacks included.
        retain: the retain model's samples.
        target: the target model's samples.

    Raises UnknownName for a metric, argument or profile that does not exist.
    """
    measured = Measurements(benchmark, samples, retain, target)
    named = [result for use in benchmark.metrics for result in _results(use, measured=measured)]
    return [*named, *_of_attacks(measured), *results_of_states(measured)]


def results_of_states(measured: Measurements) -> Iterator[MetricResult]:
    """What attacks that keep hidden states are compared by, each on every set that it was made on."""
    benchmark = measured.benchmark
    for key, made in _made(measured).items():
        sets = dict.fromkeys(sample.set for sample in measured.samples if sample.attack == key)
        for named, set_name in ((named, one) for named in metrics_of(made) for one in sets):
            metric = metric_of(named)
            if not isinstance(metric, ReferenceMetric):
                continue
            turned = set_name == benchmark.forget_set and metric.other != "retain_model"
            direction = "lower" if bool(metric.higher_is_better) == turned else "higher"
            use = MetricUse(named.metric, set_name, direction, headline=False, args=named.args)
            tasks = [one for one in measured.tasks(set_name, metric.kind) if measured.of_task(one.name, attack=key)]
            for profile, task in ((profile, one) for profile in unasked_profiles(metric) for one in tasks):
                found = _directed(measured.estimate(metric, task=task, profile=profile, attack=key), use)
                yield MetricResult(use.key, set_name, profile, found, task=task.name, kind=task.kind, attack=key)


def _made(measured: Measurements) -> dict[str, Any]:
    """The attacks that were made, by what records call them; without those that are not there any more."""
    keys = dict.fromkeys(sample.attack for sample in measured.samples if sample.attack)
    return {key: made for key in keys if (made := known_attack(key)) is not None}


def _of_attacks(measured: Measurements) -> Iterator[MetricResult]:
    """How far attacks got that try to get a forgotten answer back, each at its budget and over all smaller ones.

    What the document names itself is left out.
    """
    benchmark = measured.benchmark
    named = {use.metric for use in benchmark.metrics if use.set == benchmark.forget_set}
    searched = {key: made for key, made in _made(measured).items() if recovers(made) and not metrics_of(made)}
    budgets = {key: budget_of(made) or BUDGET for key, made in searched.items()}
    for budget in dict.fromkeys(budgets.values()):
        args = {} if budget == BUDGET else {"budget": budget}
        others = [key for key, own in budgets.items() if own != budget]
        for metric in ("attack_success", "attack_success_area"):
            use = MetricUse(metric, benchmark.forget_set, "lower", headline=False, args=args)
            if metric not in named:
                yield from (one for one in _results(use, measured=measured) if one.attack not in others)


def _results(use: MetricUse, *, measured: Measurements) -> Iterator[MetricResult]:
    metric = metric_of(use, document=measured.benchmark.name)
    for profile in use.profiles or unasked_profiles(metric):
        if isinstance(metric, CompositeMetric):
            if measured.components(metric, profile=profile)[0]:
                estimate = measured.composite(metric, profile=profile)
                yield MetricResult(use.key, use.set, profile, _directed(estimate, use))
            continue
        for task in measured.tasks(use.set, metric.kind):
            for attack in _attacks(metric, task=task, measured=measured):
                estimate = measured.estimate(metric, task=task, profile=profile, attack=attack)
                yield MetricResult(
                    use.key,
                    use.set,
                    profile,
                    _directed(estimate, use),
                    task=task.name,
                    kind=task.kind,
                    attack=attack,
                )


def _attacks(metric: Metric, *, task: TaskSpec, measured: Measurements) -> tuple[str | None, ...]:
    if not isinstance(metric, SampleMetric):
        return (None,)
    answers = measured.answers
    found = [one for one in answers.attacks_on(task.name) if not answers.keeps_states(task.name, attack=one)]
    if not reads_attempts(metric):
        found = [attack for attack in found if not answers.is_ranked(task.name, attack=attack)]
    return (None, *found)


def _directed(estimate: Estimate, use: MetricUse) -> Estimate:
    """The estimate with the direction that its set gives it: less recall is better where forgetting was asked for."""
    return replace(estimate, higher_is_better=use.higher_is_better)
