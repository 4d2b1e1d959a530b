"""Results by level of a hierarchy: what is remembered of every node, and the gap between what was kept and forgotten.

A row stands at a path, e.g. institution/patient/study/section; a node is the first parts of one. Both results are of
the gate's metric, clean, on the questions of the forget and the utility set. Only benchmarks whose document names
`levels` have them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from mmforget.benchmark.hierarchy import Relation
from mmforget.benchmark.spec import Benchmark
from mmforget.evaluation.headline import PROFILE
from mmforget.evaluation.measurements import Measurements, replicates_of
from mmforget.metrics.arguments import metric_of
from mmforget.metrics.base import SampleMetric, profile_of
from mmforget.metrics.estimate import count_lacking, with_interval
from mmforget.results.schema import LevelResult
from mmforget.statistics.jackknife import derived
from mmforget.types import Estimate, Sample, Score

Node = tuple[str, ...]


class Answered(NamedTuple):
    """A question with its score."""

    sample: Sample
    score: Score


def level_results(
    benchmark: Benchmark,
    samples: Sequence[Sample],
    *,
    target: Sequence[Sample] | None,
    retain: Sequence[Sample] | None,
) -> list[LevelResult]:
    """One result for each node above the asked questions, a node before what is below it.

    A node is `inside` where all questions below it are of the forget set, an `ancestor` where some are, a `sibling`
    where it or a node above it shares the parent of a node inside, else `elsewhere`. Empty where the benchmark's
    document has no levels, and where its gate has no metric of single answers.
    """
    below = _by_node(benchmark, _answered(benchmark, samples))
    others = [_by_node(benchmark, _answered(benchmark, model or ())) for model in (target, retain)]
    metric = benchmark.gate.key
    related = relations({node: _forgotten(benchmark, found) for node, found in below.items()})
    results = []
    for node in sorted(below):
        sets = {answered.sample.set for answered in below[node]}
        results.append(
            LevelResult(
                level=benchmark.document.levels[len(node) - 1],
                path=node,
                relation=related[node],
                name=metric,
                set=sets.pop() if len(sets) == 1 else "",
                num=len(_values(below[node])),
                value=_mean(below[node]),
                target=_mean(others[0].get(node, ())),
                retain=_mean(others[1].get(node, ())),
            )
        )
    return results


def relations(forgotten: Mapping[Node, float]) -> dict[Node, Relation]:
    """How every node stands to what was forgotten.

    Args:
        forgotten: the share of each node's questions that were to be forgotten, in [0, 1]; with a node, all above it.
    """
    parents = {node[:-1] for node, share in forgotten.items() if share == 1.0}
    found: dict[Node, Relation] = {}
    for node in sorted(forgotten, key=len):
        if forgotten[node] > 0.0:
            found[node] = "inside" if forgotten[node] == 1.0 else "ancestor"
        elif node[:-1] in parents or found.get(node[:-1]) == "sibling":
            found[node] = "sibling"
        else:
            found[node] = "elsewhere"
    return found


def gaps(benchmark: Benchmark, samples: Sequence[Sample]) -> dict[str, Estimate]:
    """`gap` and `gap/<level>`: the metric's mean on the utility set minus its mean on the forget set, in [-1, 1].

    A level's gap is that of the questions about it: those whose row says so (`extra["level"]`), else those whose path
    ends there. With a 95 % interval by the subjects of both sets. Empty where `level_results` is.
    """
    answered = _answered(benchmark, samples)
    if not answered:
        return {}
    levels = [(one, level_of(one.sample, levels=benchmark.document.levels)) for one in answered]
    found = {"gap": _gap(benchmark, answered)}
    for level in benchmark.document.levels:
        own = [one for one, place in levels if place == level]
        if own:
            found[f"gap/{level}"] = _gap(benchmark, own, where=f" at level {level}")
    return found


def level_of(sample: Sample, *, levels: Sequence[str]) -> str:
    """The level a question is about; empty for one without a path, and for one that lies deeper than all levels."""
    named = sample.extra.get("level")
    if named in levels:
        return str(named)
    return levels[len(sample.path) - 1] if 0 < len(sample.path) <= len(levels) else ""


def _answered(benchmark: Benchmark, samples: Sequence[Sample]) -> list[Answered]:
    """Questions of the forget and the utility set with their scores in the gate's metric."""
    metric = metric_of(benchmark.gate, document=benchmark.name)
    if not benchmark.document.levels or not isinstance(metric, SampleMetric):
        return []
    measured, found = Measurements(benchmark, samples), []
    for name in dict.fromkeys((benchmark.forget_set, benchmark.utility_set)):
        for task in measured.tasks(name, metric.kind)[:1]:
            scores = measured.scores(metric, task=task.name, profile=profile_of(metric, PROFILE))
            found += [Answered(*pair) for pair in zip(measured.of_task(task.name), scores, strict=True)]
    return found


def _by_node(benchmark: Benchmark, answered: Sequence[Answered]) -> dict[Node, list[Answered]]:
    """The questions below every node."""
    below: dict[Node, list[Answered]] = {}
    for one in answered:
        for node in _nodes(one.sample.path, num_levels=len(benchmark.document.levels)):
            below.setdefault(node, []).append(one)
    return below


def _nodes(path: Node, *, num_levels: int) -> Iterator[Node]:
    """Every prefix of a path, as far as levels have names."""
    for size in range(1, min(len(path), num_levels) + 1):
        yield path[:size]


def _forgotten(benchmark: Benchmark, answered: Sequence[Answered]) -> float:
    return sum(one.sample.set == benchmark.forget_set for one in answered) / len(answered)


def _values(answered: Sequence[Answered]) -> list[float]:
    return [one.score.value for one in answered if one.score.value is not None]


def _mean(answered: Sequence[Answered]) -> float | None:
    values = _values(answered)
    return sum(values) / len(values) if values else None


def _gap(benchmark: Benchmark, answered: Sequence[Answered], *, where: str = "") -> Estimate:
    forgotten = [one for one in answered if one.sample.set == benchmark.forget_set]
    kept = [one for one in answered if one.sample.set != benchmark.forget_set]
    metric = metric_of(benchmark.gate, document=benchmark.name)
    low, high = metric.range
    num_scored, num_lacking = len(_values(answered)), count_lacking([one.score for one in answered])
    counts = (num_scored, len(answered) - num_scored - num_lacking)
    first, second = _mean(kept), _mean(forgotten)
    unknown = Estimate(None, None, None, *counts, higher_is_better=True, range=(low - high, high - low))
    unknown = replace(unknown, num_lacking=num_lacking)
    if first is None or second is None or not isinstance(metric, SampleMetric):
        missing = [name for name, value in (("utility", first), ("forget", second)) if value is None]
        return replace(unknown, reasons=tuple(f"no scored question of the {name} set{where}" for name in missing))
    sides = {"kept": kept, "forgotten": forgotten}
    parts = {name: replicates_of(metric, [one.score for one in side]) for name, side in sides.items()}
    found = derived(
        lambda values: values["kept"] - values["forgotten"],
        {name: part for name, part in parts.items() if part is not None},
    )
    return with_interval(replace(unknown, value=first - second), found)
