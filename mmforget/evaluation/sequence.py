"""How well everything is answered after each of several requests, and what that says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mmforget.benchmark.spec import Benchmark
from mmforget.evaluation.headline import PROFILE, utility_of
from mmforget.evaluation.instances import columns, mean_score
from mmforget.evaluation.measurements import Measurements
from mmforget.metrics.arguments import metric_of
from mmforget.metrics.base import SampleMetric, profile_of
from mmforget.results.schema import RunRecord
from mmforget.results.sequence import Between, RequestResult, SequenceCell, SequenceResult
from mmforget.statistics.sequences import cumulative_damage, damage, known_mean, rebound
from mmforget.types import Sample, Score


@dataclass(frozen=True)
class CarriedOut:
    """A request that was carried out.

    Attributes:
        training: report of its training.
        files: sha256 by name of the sample files that `samples` were read from, see `RequestResult.files`.
        samples: what was answered after it; empty for the last one, whose samples are the record's own.
    """

    number: int
    subjects: tuple[str, ...]
    num_rows: int
    training: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)
    samples: Sequence[Sample] = ()


@dataclass(frozen=True)
class Sequenced:
    """Requests that were carried out one after another; `between` says how, see `SequenceResult`."""

    between: Between
    requests: tuple[CarriedOut, ...]

    def result(
        self,
        benchmark: Benchmark,
        *,
        target: Sequence[Sample],
        last: Sequence[Sample],
        retain: Sequence[Sample] | None,
    ) -> SequenceResult:
        """What the record of the last model says of them; arguments as of `sequence_result`."""
        return sequence_result(benchmark, self.requests, between=self.between, target=target, last=last, retain=retain)


def sequence_result(
    benchmark: Benchmark,
    requests: Sequence[CarriedOut],
    *,
    between: Between,
    target: Sequence[Sample],
    last: Sequence[Sample],
    retain: Sequence[Sample] | None,
) -> SequenceResult:
    """The matrix of request by set, with rebound and damage.

    Args:
        target: the samples of the model before the first request.
        last: those of the model after the last one.
        retain: those of the retain model, which some metrics compare with.
    """
    of = {subject: one.number for one in requests for subject in one.subjects}
    asked = [target, *(one.samples for one in requests[:-1]), last]
    models = [Measurements(benchmark, samples, retain, target) for samples in asked]
    recall = tuple(tuple(_recall(one, of=of, num=len(requests))) for one in models)
    utility = tuple(utility_of(one).value for one in models)
    cells = (cell for after, one in enumerate(models) for cell in _cells(one, of=of, after=after))
    back, total = (*rebound(recall), None), cumulative_damage(utility)
    return SequenceResult(
        between=between,
        metric=benchmark.gate.key,
        set=benchmark.gate.set,
        requests=tuple(
            RequestResult(
                one.number,
                one.subjects,
                one.num_rows,
                rebound=came,
                damage=cost,
                cumulative_damage=so_far,
                training=one.training,
                files=one.files,
            )  # fmt: skip
            for one, came, cost, so_far in zip(requests, back, damage(utility), total, strict=True)
        ),
        cells=tuple(cells),
        recall=recall,
        utility=utility,
        rebound=known_mean(back),
        damage=total[-1],
    )


def scored_again(
    record: RunRecord,
    *,
    benchmark: Benchmark,
    samples: Sequence[Sample],
    read: Callable[[RequestResult], Sequence[Sample]],
    target: Sequence[Sample] | None,
    retain: Sequence[Sample] | None,
) -> RunRecord:
    """The record with its sequence computed anew; as it is where it has none, or there is no target model.

    Args:
        read: gives the samples that were answered after a request other than the last.
    """
    before = record.sequence
    if before is None or target is None:
        return record
    requests = [
        CarriedOut(one.number, one.subjects, one.num_rows, one.training, one.files, read(one) if one.files else ())
        for one in before.requests
    ]
    found = sequence_result(benchmark, requests, between=before.between, target=target, last=samples, retain=retain)
    return replace(record, sequence=found)


def _recall(model: Measurements, *, of: Mapping[str, int], num: int) -> Iterator[float | None]:
    """The mean score of the rows of each request, in the gate's metric."""
    gate = model.benchmark.gate
    metric = metric_of(gate, document=model.benchmark.name)
    scores: list[Score] = []
    if isinstance(metric, SampleMetric):
        for task in model.tasks(gate.set, metric.kind)[:1]:
            scores = model.scores(metric, task=task.name, profile=profile_of(metric, PROFILE))
    for number in range(1, num + 1):
        yield mean_score([one for one in scores if of.get(one.subject) == number])


def _cells(model: Measurements, *, of: Mapping[str, int], after: int) -> Iterator[SequenceCell]:
    """Rows of every request, and of every set that no request is about, with every metric of single answers."""
    values: dict[tuple[str, int | None], dict[str, list[Score]]] = {}
    for key, scores in columns(model):
        set_name, _, metric = key.partition("/")
        requests = {of.get(one.subject) for one in scores}
        for request in sorted(requests, key=lambda one: one or 0):
            own = [one for one in scores if of.get(one.subject) == request]
            values.setdefault((set_name, request), {})[metric] = own
    for (set_name, request), found in values.items():
        num = max(map(len, found.values()))
        yield SequenceCell(after, set_name, request, num, {key: mean_score(own) for key, own in found.items()})
