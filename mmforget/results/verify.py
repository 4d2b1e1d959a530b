"""Whether a stored record can be believed, as far as its own folder tells: no model, no benchmark, no other record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

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
    unverified = ""
    if not wrong:
        unverified = _why_unverified(run)
        wrong = [] if unverified else _denied(run)
    if wrong:
        raise UserError(f"{run.path}: the record contradicts itself: {told(wrong)}; it was edited or is damaged")
    return replace(run, unverified=unverified)


def _with_absent(runs: Sequence[StoredRun]) -> list[StoredRun]:
    known = {(run.record.role, run.record.model_info.get("fingerprint")) for run in runs}
    read = {run.folder.resolve() for run in runs}
    looked: set[Path] = set()
    found = []
    for run in runs:
        home = home_of(run.folder)
        if home not in looked and not set(run.record.references.items()) <= known:
            looked.add(home)
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


def _why_unverified(run: StoredRun) -> str:
    """Why the sample files cannot speak for the record; empty where they can.

    Raises UserError where they are not those it was computed from.
    """
    if not run.record.files:
        return "no samples are stored with it"
    for name, expected in run.record.files.items():
        path = run.folder / name
        if path.name == name and path.is_symlink():
            return f"{name} is a link"
        if path.name == name and not path.exists():
            return f"{name} is missing"
        check_file(run.folder, name, expected=expected)
    return ""


def _denied(run: StoredRun) -> list[str]:
    """Counts that the sample files deny: more answers scored than there are lines.

    In all files: an attack on membership counts the holdout set's answers beside those of its task.
    """
    found = []
    lines = {name: _num_lines(run.folder / name) for name in run.record.files if name.endswith(".jsonl")}
    there = sum(lines.values())
    for result in run.record.metrics:
        estimate = result.estimate
        counted = estimate.num_scored + estimate.num_unscored + estimate.num_lacking
        stem = samples_file(result.task).removesuffix(".jsonl")
        if result.task and counted > there and any(name.startswith(stem) for name in lines):
            found.append(f"{result.name} on the {result.set} set counts {counted} answers, the samples hold {there}")
    return found


def _num_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(2**20), b""))


def _model(run: StoredRun) -> Hashable:
    return run.record.role, run.record.name, str(run.record.model_info.get("fingerprint"))


def _measurement(run: StoredRun) -> str:
    """Identifies what a record says about which model, wherever and whenever that was computed."""
    document = run.record.to_json()
    return hash_json({key: value for key, value in document.items() if key not in ONLY_SAID})
