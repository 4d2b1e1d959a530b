"""What a model comes to on the validation part while it trains: how much is forgotten, and how much is kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mmforget.benchmark.spec import Benchmark, TaskSpec
from mmforget.errors import UserError
from mmforget.evaluation.headline import PROFILE, utility_metric, utility_of
from mmforget.evaluation.measurements import Measurements
from mmforget.metrics.arguments import metric_of
from mmforget.metrics.base import CompositeMetric, SampleMetric, is_part, kinds_read, profile_of
from mmforget.types import Sample


def validation_tasks(benchmark: Benchmark, *, flag: str = "--eval_steps") -> list[TaskSpec]:
    """The tasks that `forget` and `utility` are made of. Raises UserError where the benchmark has no such numbers."""
    metric = metric_of(benchmark.gate, document=benchmark.name)
    utility = utility_metric(benchmark)
    if not isinstance(metric, SampleMetric) or utility is None:
        raise UserError(
            f"{benchmark.group}: {flag} needs a gate of single answers and a composite on the utility set "
            f"'{benchmark.utility_set}', and the document has no such metrics; leave it out"
        )
    wanted = {(benchmark.gate.set, kind) for kind in kinds_read(metric.kind)} | set(_read(utility, benchmark=benchmark))
    return [task for task in benchmark.tasks if (task.set, task.kind) in wanted]


def validation_values(benchmark: Benchmark, samples: Sequence[Sample]) -> tuple[float | None, float | None]:
    """`forget` and `utility` of a model from its answers on the validation part; see `training.stopping`."""
    measured, gate = Measurements(benchmark, samples), benchmark.gate
    metric = metric_of(gate, document=benchmark.name)
    forget = None
    if isinstance(metric, SampleMetric):
        for task in measured.tasks(gate.set, metric.kind)[:1]:
            forget = measured.estimate(metric, task=task, profile=profile_of(metric, PROFILE)).value
    return forget, utility_of(measured).value


def _read(utility: CompositeMetric, *, benchmark: Benchmark) -> Iterator[tuple[str, str]]:
    """Sets and kinds of task that a composite's parts are measured on."""
    named = {use.metric for use in benchmark.metrics}
    for component in utility.components:
        if is_part(component, of=utility, named=named):
            part = metric_of(component)
            set_name = benchmark.document.sets.get(component.role, component.role)
            if not isinstance(part, CompositeMetric):
                yield from ((set_name, kind) for kind in kinds_read(part.kind))
