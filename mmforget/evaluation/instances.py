"""What each of the subjects that were forgotten one at a time came to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from mmforget.benchmark.spec import Benchmark
from mmforget.evaluation.headline import PROFILE
from mmforget.evaluation.measurements import Measurements
from mmforget.metrics.arguments import metric_of
from mmforget.metrics.base import SampleMetric, profile_of
from mmforget.results.schema import InstanceResult
from mmforget.types import Sample, Score


def instance_results(benchmark: Benchmark, samples: Sequence[Sample]) -> Iterator[InstanceResult]:
    """One result for each subject, in the order in which they were asked: the mean of its scores by set and metric."""
    measured = Measurements(benchmark, samples)
    counts = Counter(sample.subject for sample in samples)
    found = {key: _by_subject(scores) for key, scores in columns(measured)}
    for name, count in counts.items():
        yield InstanceResult(name, count, {key: mean_score(scores.get(name, ())) for key, scores in found.items()})


def columns(measured: Measurements) -> Iterator[tuple[str, list[Score]]]:
    """The scores of every metric of single answers on its set, without attacks."""
    for use in measured.benchmark.metrics:
        metric = metric_of(use, document=measured.benchmark.name)
        if isinstance(metric, SampleMetric):
            for task in measured.tasks(use.set, metric.kind)[:1]:
                scores = measured.scores(metric, task=task.name, profile=profile_of(metric, PROFILE))
                yield f"{use.set}/{use.key}", scores


def _by_subject(scores: Sequence[Score]) -> dict[str, list[Score]]:
    found: dict[str, list[Score]] = {}
    for one in scores:
        found.setdefault(one.subject, []).append(one)
    return found


def mean_score(scores: Sequence[Score]) -> float | None:
    """The mean of the scores that have a value; None where none has."""
    values = [one.value for one in scores if one.value is not None]
    return math.fsum(values) / len(values) if values else None
