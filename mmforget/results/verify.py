"""Whether a stored record can be believed, as far as its own folder tells: no model, no benchmark, no other record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from mmforget.errors import UserError
from mmforget.results.consistency import contradictions
from mmforget.results.fingerprint import hash_json
from mmforget.results.samples import check_file, samples_file
from mmforget.results.store import Collected, StoredRun, collect_records, folders_beside, home_of

MAX_TOLD = 3
"""Contradictions of one record that are told; of more, the number."""
ONLY_SAID = ("provenance", "cost", "training", "rescored", "files")
"""Parts of a record that may differ between two copies of one measurement."""


def collect_trusted(paths: Iterable[Path]) -> Collected:
    """The records at or below `paths` that do not contradict themselves, each measurement once.

    A record whose samples are gone or links is kept and marked `unverified`; `absent` says which of the models it was
    compared with are on record neither among `paths` nor in the folders beside it. A fault is a record that
    contradicts itself, or whose samples are not those it was computed from.
    """
    found = collect_records(paths)
    checked, faults = [], list(found.faults)
    for run in found.runs:
        try:
            checked.append(verified(run))
        except UserError as error:
            faults.append(str(error))
    single, notes = _each_once(checked)
    return Collected(_with_absent(single), faults, [*found.notes, *notes])


def _each_once(runs: Sequence[StoredRun]) -> tuple[list[StoredRun], list[str]]:
    """The first of every measurement, and a line for every other. Only records of one model can be copies."""
    num = Counter(_model(run) for run in runs)
    first: dict[Hashable, StoredRun] = {}
    notes = []
    for run in runs:
        model = _model(run)
        known = first.setdefault((model, _measurement(run) if num[model] > 1 else ""), run)
        if known is not run:
            notes.append(f"{run.path}: says what {known.path} says, and counts once")
    return list(first.values()), notes


def verified(run: StoredRun) -> StoredRun:
    """The record with `unverified` filled in.

    Raises UserError where it contradicts itself or its samples, all of it in one line.
    """
    wrong = contradictions(run.record)
    looked = _Looked("", {})
    if not wrong:
        looked = _look(run)
        wrong = [] if looked.unverified else _denied(run, num_lines=looked.num_lines)
    if wrong:
        raise UserError(f"{run.path}: the record contradicts itself: {told(wrong)}; it was edited or is damaged")
    return replace(run, unverified=looked.unverified)


def _with_absent(runs: Sequence[StoredRun]) -> list[StoredRun]:
    known = {(run.record.role, run.record.model_info.get("fingerprint")) for run in runs}
    read: set[Path] = set()
    looked: set[Path] = set()
    found = []
    for run in runs:
        if not run.record.references.items() <= known and home_of(run.folder) not in looked:
            read = read or {one.folder.resolve() for one in runs}
            looked.add(home_of(run.folder))
            beside = [path for path in folders_beside(run.folder) if path not in read]
            others = collect_records(beside).runs if beside else []
            known |= {(other.record.role, other.record.model_info.get("fingerprint")) for other in others}
        absent = tuple(role for role, name in run.record.references.items() if (role, name) not in known)
        found.append(replace(run, absent=absent))
    return found


def told(faults: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    rest = len(faults) - MAX_TOLD
    return "; ".join(faults[:MAX_TOLD]) + (f"; and {rest} more" if rest > 0 else "")


class _Looked(NamedTuple):
    """What the sample files of a record are.

    Attributes:
        unverified: why they cannot speak for it; empty where they can.
        num_lines: by file, its lines.
    """

    unverified: str
    num_lines: Mapping[str, int]


def _look(run: StoredRun) -> _Looked:
    """Raises UserError where the sample files are not those that the record was computed from."""
    if not run.record.files:
        return _Looked("no samples are stored with it", {})
    num_lines = {}
    for name, expected in run.record.files.items():
        path = run.folder / name
        if path.name == name and path.is_symlink():
            return _Looked(f"{name} is a link", {})
        if path.name == name and not path.exists():
            return _Looked(f"{name} is missing", {})
        num_lines[name] = check_file(run.folder, name, expected=expected)
    return _Looked("", num_lines)


def _denied(run: StoredRun, *, num_lines: Mapping[str, int]) -> list[str]:
    """Counts that the sample files deny: more answers scored than there are lines.

    In all files: an attack on membership counts the holdout set's answers beside those of its task.
    """
    found = []
    lines = {name: num for name, num in num_lines.items() if name.endswith(".jsonl")}
    there = sum(lines.values())
    for result in run.record.metrics:
        estimate = result.estimate
        counted = estimate.num_scored + estimate.num_unscored + estimate.num_lacking
        if counted <= there or not result.task:
            continue
        stem = samples_file(result.task).removesuffix(".jsonl")
        if any(name.startswith(stem) for name in lines):
            found.append(f"{result.name} on the {result.set} set counts {counted} answers, the samples hold {there}")
    return found


def _model(run: StoredRun) -> Hashable:
    return run.record.role, run.record.name, str(run.record.model_info.get("fingerprint"))


def _measurement(run: StoredRun) -> str:
    """Identifies what a record says about which model, wherever and whenever that was computed."""
    document = run.record.to_json()
    return hash_json({key: value for key, value in document.items() if key not in ONLY_SAID})
