"""Records that differ in the seed of their training alone, as one: every number over subjects and seeds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, count
from typing import Any, NamedTuple

from mmforget.leaderboard.sequences import joint_sequence
from mmforget.results.answer_states import AnswerStates, StateCounts
from mmforget.results.codec import json_line
from mmforget.results.deciding import joint_verdict, weighed
from mmforget.results.evidence import Evidence
from mmforget.results.schema import LevelResult, MetricResult, RunRecord, Verdict
from mmforget.results.store import SeedRun, StoredRun
from mmforget.statistics.jackknife import student_quantile
from mmforget.statistics.seeds import over_seeds, parts_over_seeds
from mmforget.types import Estimate

MODEL_FACTS = ("dtype", "quantisation", "num_parameters")
"""What has to be alike in the models of one row, besides the references they were compared with."""
GATE_FACTS = ("metric", "profile", "set", "minimum", "room", "passed")
"""What has to be alike in the gate of the target model; its numbers may differ in their last digits."""
SEED = "training.seed"


class Number(NamedTuple):
    """A number over seeds, and the share of its variance that is due to them; None where that is not known."""

    estimate: Estimate
    share: float | None


def join_seeds(runs: Sequence[StoredRun]) -> list[StoredRun]:
    """The runs, with those of one method, its arguments and settings, trained with several seeds as one.

    They have to be compared with the same models on the same rows, asked in the same way, wherever their records lie.
    A seed that is there twice makes a second row, and so does a model that is there under two seeds: it was trained
    once. The joint run stands where its first part stood.
    """
    groups: dict[tuple[str, int], list[StoredRun]] = defaultdict(list)
    taken: dict[tuple[str, int], set[Hashable]] = defaultdict(set)
    for number, run in enumerate(runs):
        if run.record.role != "unlearned" or run.record.method is None:
            groups["", number].append(run)
            continue
        key, marks = _key(run.record), _training_marks(run.record)
        row = next(row for row in count() if not taken[key, row] & marks)
        groups[key, row].append(run)
        taken[key, row] |= marks
    return [several[0] if len(several) == 1 else _joint(several) for several in groups.values()]


def _training_marks(record: RunRecord) -> set[Hashable]:
    """What no two trainings of one row may share: the seed, and the model that came of it."""
    fingerprint = record.model_info.get("fingerprint")
    return {_seed(record), *([fingerprint] if isinstance(fingerprint, str) else [])}


def _key(record: RunRecord) -> str:
    """Identifies all that decides a record's numbers except the seed."""
    method = record.method
    args = {} if method is None else {name: value for name, value in method.args.items() if name != SEED}
    facts: list[Any] = [
        record.name,
        record.benchmark,
        method and [method.name, method.recipe],
        args,
        {name: [use.num_questions, use.rows_hash] for name, use in record.sets.items()},
        sorted({result.task for result in record.metrics}),
        record.references,
        record.gate and [getattr(record.gate, name) for name in GATE_FACTS],
        {name: record.model_info.get(name) for name in MODEL_FACTS},
        record.judge,
    ]
    return json_line(facts, sort_keys=True)


def _joint(runs: Sequence[StoredRun]) -> StoredRun:
    ordered = sorted(runs, key=lambda run: _seed(run.record))
    records = [run.record for run in ordered]
    keys = dict.fromkeys(chain.from_iterable(record.headline for record in records))
    numbers = {key: _headline(key, records) for key in keys}
    headline = {key: number.estimate for key, number in numbers.items()}
    record = replace(
        records[0],
        headline=headline,
        replicates={},
        metrics=tuple(_metrics(records)),
        answer_states=tuple(_answer_states(records)),
        levels=tuple(_levels(records)),
        sequence=joint_sequence(records),
        verdict=_verdict(records, headline=headline),
        training=_training(records),
        num_nonfinite=sum(one.num_nonfinite for one in records),
    )
    return replace(
        ordered[0],
        record=record,
        unverified="; ".join(dict.fromkeys(run.unverified for run in ordered if run.unverified)),
        absent=tuple(dict.fromkeys(chain.from_iterable(run.absent for run in ordered))),
        seeds=tuple(SeedRun(_seed(run.record), run.path, _overall(run.record), run.sha256) for run in ordered),
        seed_shares={key: number.share for key, number in numbers.items() if number.share is not None},
    )


def _seed(record: RunRecord) -> int:
    return record.method.seed if record.method is not None else 0


def _overall(record: RunRecord) -> float | None:
    found = record.headline.get("overall")
    return found.value if found is not None else None


def _headline(key: str, records: Sequence[RunRecord]) -> Number:
    """One headline number over seeds, with subjects and seeds crossed where the records keep what that takes."""
    estimates = _of_all([record.headline.get(key) for record in records], records=records)
    joint = joined_estimate(estimates)
    replicates = [record.replicates.get(key) for record in records]
    known = [one for one in replicates if one is not None]
    if joint.value is None or len(known) < len(records):
        return Number(joint, None)
    found = over_seeds(known, bounds=joint.range)
    reasons = (*joint.reasons, found.reason) if found.reason else joint.reasons
    return Number(replace(joint, value=found.value, low=found.low, high=found.high, reasons=reasons), found.seed_share)


def _of_all(estimates: Sequence[Estimate | None], *, records: Sequence[RunRecord]) -> list[Estimate]:
    """The estimates of all records; one that was not measured has no value and says of which seed."""
    return [
        Estimate(None, reasons=(f"not measured with seed {_seed(record)}",)) if one is None else one
        for one, record in zip(estimates, records, strict=True)
    ]


def joined_estimate(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of one number over S >= 2 seeds, from its estimates alone.

    The half-widths of the interval are the root of the mean square of the seeds' own, as if all seeds moved together
    with the subjects, and t s / sqrt(S) of the values, added by squares. That is never too narrow where the seeds'
    own intervals are not: what subjects and seeds have in common counts in both. No value where one has none.
    """
    first = next((one for one in estimates if one.value is not None), estimates[0])
    nothing = replace(
        first,
        value=None,
        low=None,
        high=None,
        constant=False,
        num_scored=sum(one.num_scored for one in estimates),
        num_unscored=sum(one.num_unscored for one in estimates),
        reasons=tuple(dict.fromkeys(chain.from_iterable(one.reasons for one in estimates))),
    )
    values = [one.value for one in estimates if one.value is not None]
    if len(values) < len(estimates):
        return nothing
    mean = math.fsum(values) / len(values)
    constant = all(one.constant for one in estimates) and len(set(values)) == 1
    low, high = _interval(estimates, values=values, mean=mean)
    return replace(nothing, value=mean, low=low, high=high, constant=constant)


def _interval(
    estimates: Sequence[Estimate], *, values: Sequence[float], mean: float
) -> tuple[float | None, float | None]:
    below = [value - one.low for value, one in zip(values, estimates, strict=True) if one.low is not None]
    above = [one.high - value for value, one in zip(values, estimates, strict=True) if one.high is not None]
    num = len(values)
    if min(len(below), len(above)) < num:
        return None, None
    variance = math.fsum((value - mean) ** 2 for value in values) / (num - 1) / num
    by_seed = student_quantile(num - 1.0) ** 2 * variance
    least, most = estimates[0].range
    down, up = (math.sqrt(math.fsum(half**2 for half in halves) / num + by_seed) for halves in (below, above))
    return max(least, mean - down), min(most, mean + up)


def _metrics(records: Sequence[RunRecord]) -> list[MetricResult]:
    """Every metric of any record, over the seeds."""
    tables = [{_metric_key(result): result for result in record.metrics} for record in records]
    found = []
    for key in dict.fromkeys(chain.from_iterable(tables)):
        results = [table.get(key) for table in tables]
        first = next(result for result in results if result is not None)
        estimates = _of_all([None if result is None else result.estimate for result in results], records=records)
        found.append(replace(first, estimate=joined_estimate(estimates)))
    return found


def _metric_key(result: MetricResult) -> tuple[str | None, ...]:
    return (result.name, result.set, result.profile, result.task, result.kind, result.attack)


def _answer_states(records: Sequence[RunRecord]) -> Iterator[AnswerStates]:
    """The lines that all records have, their answers counted together."""
    tables = [{line.key: line for line in record.answer_states} for record in records]
    for key, first in tables[0].items():
        if all(key in table for table in tables):
            yield replace(first, own=StateCounts.total([table[key].own for table in tables]))


def _levels(records: Sequence[RunRecord]) -> list[LevelResult]:
    """What the first record has by level, with means over the seeds that have the same."""
    tables = [{(level.path, level.set): level for level in record.levels} for record in records]
    found = []
    for key, level in tables[0].items():
        values = [table[key].value for table in tables if key in table]
        known = [value for value in values if value is not None]
        mean = math.fsum(known) / len(known) if len(known) == len(records) else None
        found.append(replace(level, value=mean))
    return found


def _verdict(records: Sequence[RunRecord], *, headline: Mapping[str, Estimate]) -> Verdict | None:
    """What the seeds come to; None where a record has no verdict."""
    known = {_seed(record): record.verdict for record in records if record.verdict is not None}
    if len(known) < len(records):
        return None
    values = {name: headline[name].value if name in headline else None for name in ("utility_ratio", "forget_score")}
    return joint_verdict(
        known, evidence=list(_evidence(records, headline=headline)),
        kept=values["utility_ratio"], forget_score=values["forget_score"],
    )  # fmt: skip


def _evidence(records: Sequence[RunRecord], *, headline: Mapping[str, Estimate]) -> Iterator[Evidence]:
    """The lines of evidence that all records have, each over the seeds."""
    tables = [{line.key: line for line in record.verdict.evidence} for record in records if record.verdict is not None]
    for key, first in tables[0].items():
        lines = [table[key] for table in tables if key in table]
        replicates = [record.replicates[key] for record in records if key in record.replicates]
        if len(lines) < len(records):
            continue
        excess = headline.get(key, Estimate(None))
        joint = replace(
            first,
            num_scored=sum(line.num_scored for line in lines),
            num_unscored=sum(line.num_unscored for line in lines),
            unlearned=_mean([line.unlearned for line in lines]),
            excess=excess.value, low=excess.low, high=excess.high,
        )  # fmt: skip
        is_told = first.outcome != "blind" and len(replicates) == len(records)
        yield weighed(joint, parts=parts_over_seeds(replicates)) if is_told else replace(joint, outcome="blind")


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if len(known) == len(values) else None


def _training(records: Sequence[RunRecord]) -> Mapping[str, Any]:
    """What one training took: the first's, with the mean time and the largest memory of all."""
    found = dict(records[0].training)
    for key, of_all in (("wall_s", lambda values: math.fsum(values) / len(values)), ("peak_memory_bytes", max)):
        values = [record.training.get(key) for record in records]
        numbers = [value for value in values if isinstance(value, (int, float))]
        if len(numbers) == len(records):
            found[key] = of_all(numbers)
    return found
