"""Records and exported rows of several people as one list: the same run is there once, whoever sends it."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Container, Hashable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from mmforget.errors import UserError
from mmforget.leaderboard.over_seeds import join_seeds
from mmforget.leaderboard.reading import name_of, read_export, run_of
from mmforget.leaderboard.rows import sha256_of
from mmforget.results.codec import json_line
from mmforget.results.consistency import contradictions
from mmforget.results.fingerprint import hash_file, hash_text
from mmforget.results.store import PATTERN, Collected, StoredRun
from mmforget.results.verify import collect_trusted, told


class _Rows(NamedTuple):
    """What exports hold.

    Attributes:
        places: records that lie where their row says, unchanged; these are read in place of the row.
        runs: of all other rows, what the row says.
        faults: one line each.
    """

    places: list[Path]
    runs: list[StoredRun]
    faults: list[str]


def merged(paths: Sequence[Path], *, exports: Sequence[Path]) -> Collected:
    """The records at or below `paths` and the rows of `exports`, over seeds, each run once.

    A row whose record lies where it says, with the sha256 that it says, is that record; any other is taken as it
    stands, unverified, unless it contradicts itself. Of rows that share a training the one of most trainings stays, a
    record before a row. Raises UserError for an export that cannot be read, and where there is nothing at all.
    """
    found = _Rows([], [], [])
    for path in exports:
        one = _rows(path)
        found.places.extend(one.places)
        found.runs.extend(one.runs)
        found.faults.extend(one.faults)
    given = [*paths, *dict.fromkeys(found.places)]
    records = collect_trusted(given) if given or not exports else Collected([], [])
    alone = [run for run in found.runs if not run.seeds]
    joint = [run for run in found.runs if run.seeds]
    # The same run as record and as row: once before seeds are joined, or its row would be taken for another training.
    single = _each_once([*records.runs, *alone])
    all_of_them = _each_once([*join_seeds(single.runs), *joint])
    notes = [*records.notes, *single.notes, *all_of_them.notes]
    return Collected(_with_absent(all_of_them.runs), [*records.faults, *found.faults], notes)


def _rows(path: Path) -> _Rows:
    export = read_export(path)
    found = _Rows([], [], [])
    for number, row in enumerate(export.rows, 1):
        source = f"{path} {name_of(row, number)}"
        try:
            run = run_of(row, folder=path.parent, source=source)
        except UserError as error:
            found.faults.append(str(error))
            continue
        wrong = contradictions(run.record, is_joint=bool(run.seeds))
        places = records_of(run)
        if wrong:
            found.faults.append(f"{source}: contradicts itself: {told(wrong)}; it was edited or is damaged")
        elif places:
            found.places.extend(places)
        else:
            found.runs.append(run)
    return found


def records_of(run: StoredRun) -> list[Path]:
    """The files of a row's records where all of them lie where it says and have the sha256 that it says; else none."""
    named = [(one.path, one.sha256) for one in (run.seeds or (run,))]
    return [path for path, _ in named] if all(_is_at(path, sha256=sha) for path, sha in named) else []


def _is_at(path: Path, *, sha256: str | None) -> bool:
    return fnmatch.fnmatch(path.name, PATTERN) and os.path.isfile(path) and hash_file(path) == sha256


def _each_once(runs: Sequence[StoredRun]) -> Collected:
    """The runs without those that share a training, or what identifies a measurement, with one of more trainings."""
    ordered = sorted(enumerate(runs), key=lambda pair: (-len(pair[1].seeds), pair[1].sha256 is not None, pair[0]))
    owners: dict[Hashable, StoredRun] = {}
    kept: set[int] = set()
    notes = []
    for place, run in ordered:
        marks = [*(sha for sha in map(sha256_of, run.seeds or (run,)) if sha), _measured(run)]
        other = next((owners[mark] for mark in marks if mark in owners), None)
        if other is None:
            kept.add(place)
            owners.update(dict.fromkeys(marks, run))
        else:
            notes.append(f"{_said(run)}: is of a training that {_said(other)} has, and counts once")
    return Collected([run for place, run in enumerate(runs) if place in kept], [], notes)


def _said(run: StoredRun) -> str:
    return f"{run.path} ({run.record.name})"


def _measured(run: StoredRun) -> str:
    """Identifies which model was measured, and what that gave, wherever its record lies."""
    record = run.record
    numbers = {name: one.value for name, one in record.headline.items()}
    sets = {name: [use.rows_hash, use.num_questions] for name, use in record.sets.items()}
    values = [[one.name, one.set, one.profile, one.attack, one.estimate.value] for one in record.metrics]
    model = [record.role, record.name, record.model_info.get("fingerprint"), [one.seed for one in run.seeds]]
    use = record.benchmark
    facts = [model, [use.name, use.setting, use.profile, use.asked], sets, numbers, values]
    return hash_text(json_line(facts, sort_keys=True))  # a number of a stranger may be infinite, which JSON is not


def _with_absent(runs: Iterable[StoredRun]) -> list[StoredRun]:
    """The runs, each with the models it was judged against of which there is neither a record nor a row."""
    given = list(runs)
    known = {(run.record.role, run.record.model_info.get("fingerprint")) for run in given}
    return [replace(run, absent=tuple(role for role in _judged(run) if _is_lacking(run, role, known))) for run in given]


def _judged(run: StoredRun) -> Iterable[str]:
    """The models of which a record may be lacking: of a row all, of a record those that were looked for in vain."""
    return run.record.references if run.sha256 is not None else run.absent


def _is_lacking(run: StoredRun, role: str, known: Container[tuple[object, object]]) -> bool:
    return (role, run.record.references[role]) not in known
