"""From samples to metric results: every metric a benchmark uses, in every profile it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from mmforget.benchmark.document import MetricUse
from mmforget.benchmark.spec import Benchmark, TaskSpec
from mmforget.evaluation.measurements import Measurements
from mmforget.metrics.arguments import metric_of
from mmforget.metrics.base import CompositeMetric, Metric, SampleMetric
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
    and has none, or could not be scored, is there without a value and with the reason.

    Args:
        samples: everything the model was asked, attacks included.
        retain: the retain model's samples.
        target: the target model's samples.

    Raises UnknownName for a metric, argument or profile that does not exist.
    """
    measured = Measurements(benchmark, samples, retain, target)
    return [result for use in benchmark.metrics for result in _results(use, measured=measured)]


def _results(use: MetricUse, *, measured: Measurements) -> Iterator[MetricResult]:
    metric = metric_of(use, document=measured.benchmark.name)
    for profile in use.profiles or metric.profiles:
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
    if isinstance(metric, SampleMetric):
        return (None, *measured.answers.attacks_on(task.name))
    return (None,)


def _directed(estimate: Estimate, use: MetricUse) -> Estimate:
    """The estimate with the direction that its set gives it: less recall is better where forgetting was asked for."""
    return replace(estimate, higher_is_better=use.higher_is_better)
