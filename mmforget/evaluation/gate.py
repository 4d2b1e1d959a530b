"""The memorisation gate: scores of forgetting count only where there was something to forget and room to forget it.

A published table was made on a target that recalled 13 % of its forget set: nothing can be learned from it.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmforget.benchmark.spec import Benchmark
from mmforget.evaluation.measurements import Measurements
from mmforget.metrics.arguments import metric_of
from mmforget.metrics.base import CompositeMetric
from mmforget.results.rules import gated
from mmforget.results.schema import GateResult
from mmforget.types import Sample


def memorisation_gate(benchmark: Benchmark, *, target: Sequence[Sample], retain: Sequence[Sample] | None) -> GateResult:
    """Whether the target reaches the benchmark's minimum, and lies far enough above the retain model.

    Args:
        target: the target model's samples.
        retain: the retain model's, or None where there is no such model. A gate that asks for room is then not passed,
            because nobody can say how much of what the target knows is due to the forget set.
    """
    gate = benchmark.gate
    measured = GateResult(
        metric=gate.key,
        profile=gate.profile,
        set=gate.set,
        minimum=gate.minimum,
        room=gate.room,
        target=_value(benchmark, target),
        retain=None if retain is None else _value(benchmark, retain),
        passed=False,
    )
    return gated(measured)


def _value(benchmark: Benchmark, samples: Sequence[Sample]) -> float | None:
    gate = benchmark.gate
    metric = metric_of(gate, document=benchmark.name)
    measured = Measurements(benchmark, samples)
    if isinstance(metric, CompositeMetric):
        return measured.composite(metric, profile=gate.profile).value
    tasks = measured.tasks(gate.set, metric.kind)
    return measured.estimate(metric, task=tasks[0], profile=gate.profile).value if tasks else None
