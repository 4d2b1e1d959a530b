"""Which token statistics a benchmark's metrics read: nobody computes them where nobody does."""

from __future__ import annotations

from collections.abc import Iterator

from mmforget.benchmark.spec import Benchmark
from mmforget.evaluation.tasks import LoadedTasks
from mmforget.metrics.arguments import metric_of
from mmforget.metrics.base import METRICS, CompositeMetric, Metric, statistics_read


def wanted_statistics(loaded: LoadedTasks) -> dict[str, tuple[str, ...]]:
    """By task that scores answers or documents, the statistics that metrics on its set read; others are left out.

    A metric that compares with the holdout set reads them there, too.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, owner in loaded.owners.items():
        label = loaded.labels[name]
        if label.kind in ("prob", "roll"):
            read = dict.fromkeys(
                one for metric in metrics_on(label.set, owner.benchmark) for one in statistics_read(metric)
            )
            found |= {name: tuple(read)} if read else {}
    return found


def metrics_on(set_name: str, benchmark: Benchmark) -> Iterator[Metric]:
    """Every metric that a benchmark's document names for a set, alone or in a composite."""
    for use in benchmark.metrics:
        metric = metric_of(use, document=benchmark.name)
        named: list[tuple[Metric, str | None]] = [(metric, use.set)]
        if isinstance(metric, CompositeMetric):
            named = [
                (metric_of(part), benchmark.document.sets.get(part.role, part.role))
                for part in metric.components
                if part.metric in METRICS.entries
            ]
        for one, own in named:
            is_compared = getattr(one, "other", None) == "holdout" and set_name == benchmark.holdout_set
            if own == set_name or is_compared:
                yield one
