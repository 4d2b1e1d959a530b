"""A record against its own samples: every number computed again, and what differs in words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mmforget.errors import UserError

if TYPE_CHECKING:
    from mmforget.results.schema import LevelResult, MetricResult, RunRecord, SetUse
    from mmforget.results.store import Collected, StoredRun
    from mmforget.types import Estimate, Replicates, Sample

TOLERANCE = 1e-6
"""How far a number may lie from the one computed again: another machine rounds otherwise in its last digits."""
FACTS = ("higher_is_better", "range", "constant", "num_lacking", "num_subjects")
"""What is the same in an estimate and in the one computed again, beside its numbers."""
INTERVAL_TOLERANCE = 0.02
"""The same for the ends of intervals."""


def recheck(run: StoredRun, *, among: Sequence[StoredRun], include_paths: Sequence[str] = ()) -> list[str]:
    """What a record says that its samples deny, in words; empty where they agree.

    Args:
        among: records among which to look for the models it was compared with, before the folders beside it.

    Raises UserError for samples that are missing or not the record's, MissingReference where the target's or the retain
    model's record is not found, UnknownName where its benchmark is not there.
    """
    from mmforget.cli.rescore import score_again

    samples = run.samples()
    again = score_again(run, samples=samples, among=among, include_paths=include_paths)
    return [*_counts(run.record, samples), *_trained(run.record), *differences(run.record, again)]


def confirmed(found: Collected) -> Collected:
    """The records whose samples give the same numbers; what is not so is a fault that names the first differences.

    So is a record without the samples it was computed from.
    """
    from mmforget.results.verify import told

    runs, faults = [], list(found.faults)
    for run in found.runs:
        if run.unverified:
            faults.append(f"{run.path}: cannot be computed again: {run.unverified}")
            continue
        try:
            wrong = recheck(run, among=found.runs)
        except UserError as error:
            faults.append(f"{run.path}: cannot be computed again: {error}")
            continue
        if wrong:
            faults.append(f"{run.path}: its samples deny it: {told(wrong)}")
        else:
            runs.append(run)
    return found._replace(runs=runs, faults=faults)


def differences(record: RunRecord, again: RunRecord) -> list[str]:
    """Where a record's numbers, kinds of answers, levels, gate and verdict differ from those computed again."""
    return [
        *_metrics(record, again),
        *_headline(record, again),
        *_replicates(record, again),
        *_answer_states(record, again),
        *_levels(record, again),
        *_sequence(record, again),
        *_ruling(record, again),
    ]


def _trained(record: RunRecord) -> Iterator[str]:
    """That nothing was trained, of a method that trains: one that does not is ranked with one record."""
    from mmforget.methods.base import JOINER, METHODS

    if record.method is None or record.training.get("num_planned") != 0:
        return
    with contextlib.suppress(UserError):  # of a plugin that is not installed
        if any(hasattr(METHODS.get(name), "loss") for name in record.method.name.split(JOINER)):
            yield f"{record.method.name} trains, and the record says that no update was planned"


def _counts(record: RunRecord, samples: Sequence[Sample]) -> Iterator[str]:
    for name, use in record.sets.items():
        tasks = {sample.task for sample in samples if sample.set == name and sample.attack is None}
        for task in sorted(tasks):
            yield from _set_counts(name, use, [one for one in samples if one.task == task and one.attack is None])
        if not tasks and use.num_questions:
            yield f"sets.{name}: {use.num_questions} questions, and no sample"


def _set_counts(name: str, use: SetUse, samples: Sequence[Sample]) -> Iterator[str]:
    questions, subjects = len(samples), len({sample.subject for sample in samples})
    if questions != use.num_questions:
        yield f"sets.{name}: {use.num_questions} questions, {questions} samples of {samples[0].task}"
    if use.num_subjects and subjects != use.num_subjects:
        yield f"sets.{name}: {use.num_subjects} subjects, {subjects} in the samples"


def _metrics(record: RunRecord, again: RunRecord) -> Iterator[str]:
    new = {_key(result): result.estimate for result in again.metrics}
    old = {_key(result): result.estimate for result in record.metrics}
    for key, estimate in old.items():
        where = f"{key[0]} ({key[2]}) on the {key[1]} set"
        if key not in new:
            yield f"{where} is no metric of this benchmark"
        else:
            yield from _estimate(where, estimate, new[key])
    missing = [key for key in new if key not in old]
    if missing:
        yield f"{len(missing)} metrics are left out, e.g. {missing[0][0]} on the {missing[0][1]} set"


def _headline(record: RunRecord, again: RunRecord) -> Iterator[str]:
    for name in dict.fromkeys((*record.headline, *again.headline)):
        old, new = record.headline.get(name), again.headline.get(name)
        if old is None or new is None:
            yield f"{name} is {'left out' if old is None else 'no number of this benchmark'}"
        else:
            yield from _estimate(name, old, new)


def _replicates(record: RunRecord, again: RunRecord) -> Iterator[str]:
    """Of the numbers of which those over seeds are made, each without each subject."""
    for name, old in record.replicates.items():
        new = again.replicates.get(name)
        if new is None:
            yield f"replicates.{name} are no numbers of this benchmark"
        elif (old.num_subjects, old.shifts.keys()) != (new.num_subjects, new.shifts.keys()):
            yield f"replicates.{name} are of other subjects than its samples"
        elif not all(_is_near(one, other, TOLERANCE) for one, other in zip(_parts(old), _parts(new), strict=True)):
            yield f"replicates.{name} are not those that its samples give"


def _parts(found: Replicates) -> list[float | None]:
    subjects = sorted(found.shifts)
    moves = [number for one in subjects for number in (found.shifts[one], found.degrees.get(one))]
    return [found.value, found.floor, found.least, found.most, *moves]


def _estimate(where: str, old: Estimate, new: Estimate) -> Iterator[str]:
    if not _is_near(old.value, new.value, TOLERANCE):
        yield f"{where} is {_shown(old.value)}, its samples give {_shown(new.value)}"
    elif (old.num_scored, old.num_unscored) != (new.num_scored, new.num_unscored):
        yield (
            f"{where} counts {old.num_scored} scored and {old.num_unscored} unscored, its samples "
            f"{new.num_scored} and {new.num_unscored}"
        )
    elif wrong := [name for name in FACTS if getattr(old, name) != getattr(new, name)]:
        shown = [f"{name} {getattr(old, name)}, its samples {getattr(new, name)}" for name in wrong]
        yield f"{where} has {', '.join(shown)}"
    elif not (_is_near(old.low, new.low, INTERVAL_TOLERANCE) and _is_near(old.high, new.high, INTERVAL_TOLERANCE)):
        yield (
            f"{where}: interval [{_shown(old.low)}, {_shown(old.high)}], its samples give "
            f"[{_shown(new.low)}, {_shown(new.high)}]"
        )


def _answer_states(record: RunRecord, again: RunRecord) -> Iterator[str]:
    """How many answers were right, wrong, a refusal or gibberish; a record of before version 9 says nothing of it."""
    if not record.answer_states:
        return
    old, new = ({line.key: line for line in one.answer_states} for one in (record, again))
    for key in dict.fromkeys((*old, *new)):
        if old.get(key) != new.get(key):
            yield f"answer_states of {key[0]} under {key[1] or 'no attack'} are not those that its samples give"


def _levels(record: RunRecord, again: RunRecord) -> Iterator[str]:
    """What is remembered by node: how many questions, and the three models' means."""
    old, new = ({_node(level): level for level in one.levels} for one in (record, again))
    for key, level in old.items():
        where = f"levels {'/'.join(level.path)}"
        if key not in new:
            yield f"{where} is no node of this benchmark"
        elif level.num != new[key].num:
            yield f"{where} counts {level.num} questions, its samples {new[key].num}"
        elif not all(_is_near(*pair, TOLERANCE) for pair in zip(_means(level), _means(new[key]), strict=True)):
            yield f"{where} is not what its samples give"
    if len(new) > len(old):
        yield f"{len(new) - len(old)} nodes of the levels are left out"


def _sequence(record: RunRecord, again: RunRecord) -> Iterator[str]:
    """What each request left: recall, utility, and what is made of them."""
    old, new = record.sequence, again.sequence
    if old is None or new is None:
        return
    for name in ("recall", "utility"):
        told, given = (_numbers(getattr(one, name)) for one in (old, new))
        if len(told) != len(given) or not all(_is_near(*pair, TOLERANCE) for pair in zip(told, given, strict=True)):
            yield f"sequence.{name} is not what the samples give"
    for name in ("rebound", "damage"):
        if not _is_near(getattr(old, name), getattr(new, name), TOLERANCE):
            yield f"sequence.{name} is {_shown(getattr(old, name))}, the samples give {_shown(getattr(new, name))}"


def _numbers(value: Any) -> list[float | None]:
    """The numbers of a table, row by row."""
    return [number for row in value for number in _numbers(row)] if isinstance(value, tuple) else [value]


def _node(level: LevelResult) -> tuple[object, ...]:
    return (level.level, level.path, level.relation, level.name, level.set)


def _means(level: LevelResult) -> tuple[float | None, float | None, float | None]:
    return (level.value, level.target, level.retain)


def _ruling(record: RunRecord, again: RunRecord) -> Iterator[str]:
    if record.gate is not None and again.gate is not None:
        for key in ("passed", "minimum", "room", "metric", "set"):
            old, new = getattr(record.gate, key), getattr(again.gate, key)
            if old != new:
                yield f"gate.{key} is {old}, the benchmark's samples give {new}"
        for key in ("target", "retain"):
            if not _is_near(getattr(record.gate, key), getattr(again.gate, key), TOLERANCE):
                yield f"gate.{key} is {getattr(record.gate, key)}, the samples give {getattr(again.gate, key)}"
    if record.verdict is not None and again.verdict is not None:
        for key in ("status", "collapsed", "eligible"):
            old, new = getattr(record.verdict, key), getattr(again.verdict, key)
            if old != new:
                yield f"verdict.{key} is {old}, its samples give {new}"


def _is_near(old: float | None, new: float | None, tolerance: float) -> bool:
    if old is None or new is None:
        return old is None and new is None
    return abs(old - new) <= tolerance * max(1.0, abs(new))


def _shown(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.6g}"


def _key(result: MetricResult) -> tuple[str, str, str, str, str | None]:
    return (result.name, result.set, result.profile, result.task, result.attack)
