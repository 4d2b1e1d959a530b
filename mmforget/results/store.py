"""A run record's folder: `run.yaml`, `results_<time>.json`, samples, token log-probs. Written whole or not at all.

The results file is written after the sample files and names their sha256, so a folder is either a complete record or
none; `run.yaml` comes last, for it says of which run the record is. The results file is lm_eval's own with one key
more, `unlearning`; other readers see nothing new.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from mmforget.errors import BadData, UserError
from mmforget.reading import MAX_DEPTH, files_below, is_deep, read_text
from mmforget.results.codec import to_jsonable
from mmforget.results.files import RESTORE, parse_json, write_json, write_text
from mmforget.results.samples import read_samples, write_samples
from mmforget.results.schema import RunRecord
from mmforget.types import Sample

KEY = "unlearning"
PATTERN = "results_*.json"
CONFIG_NAME = "run.yaml"
MAX_RESULTS_BYTES = 2**28
"""Longest results file that is read."""


@dataclass(frozen=True)
class SeedRun:
    """One of several trainings that differ in their seed alone."""

    seed: int
    """Its seed."""
    path: Path
    """The `results_<time>.json` of its record."""
    overall: float | None
    """What it comes to by itself."""
    sha256: str | None = None
    """Of its file, where an exported row said so (empty: it did not know); None where the file itself was read."""


@dataclass(frozen=True)
class StoredRun:
    """A record as it was found on disk."""

    record: RunRecord
    """The record."""
    path: Path
    """The `results_<time>.json` it was read from."""
    lm_eval: Mapping[str, Any]
    """lm_eval's own keys of that file."""
    unverified: str = ""
    """Why nobody can compute its numbers again from its samples; empty where that was not looked at or is possible."""
    absent: tuple[str, ...] = ()
    """The models it was compared with of which there is no record: `target`, `retain`."""
    seeds: tuple[SeedRun, ...] = ()
    """The single trainings that the record stands for, where these are several."""
    seed_shares: Mapping[str, float] = field(default_factory=dict)
    """Share of the variance of a headline number that is due to the seeds, where that is known."""
    sha256: str | None = None
    """Of its file, where only an exported row is there (empty: it did not know); None where the file was read."""

    @property
    def folder(self) -> Path:
        return self.path.parent

    def samples(self) -> list[Sample]:
        """The stored samples. Raises UserError where they are missing or not those of this record."""
        if not self.record.files:
            raise UserError(f"{self.path}: no samples were stored with this record; run it again with mmforget")
        return read_samples(self.folder, files=self.record.files)


def timestamp() -> str:
    """UTC time for file names, in lm_eval's form; sorts by time."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S.%f")


def write_run(
    folder: Path,
    record: RunRecord,
    *,
    samples: Sequence[Sample] = (),
    lm_eval: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Path:
    """Store a record with its samples, lm_eval's results and the resolved configuration; returns the results file.

    Raises UserError where the folder cannot be written; what stood there before is then still whole.
    """
    files = write_samples(folder, samples, model=record.name) if samples else {}
    path = write_results(folder, record.replace(files=files), lm_eval=lm_eval)
    # Last: a run killed before this must not find the folder's older record under the configuration of the new one.
    if config is not None:
        write_config(folder, config)
    return path


def write_results(folder: Path, record: RunRecord, *, lm_eval: Mapping[str, Any] | None = None) -> Path:
    """Write `results_<time>.json` beside those already there, for samples that are already stored."""
    document = to_jsonable(dict(lm_eval or {}), strict=False).value
    return write_json(folder / f"results_{timestamp()}.json", {**document, KEY: record.to_json()})


def write_config(folder: Path, config: Mapping[str, Any]) -> Path:
    """Write `run.yaml`: what was asked for, resolved."""
    plain = to_jsonable(config).value
    return write_text(folder / CONFIG_NAME, yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def read_run(path: Path) -> StoredRun:
    """The newest record of a folder (or that of a results file) with lm_eval's keys beside it."""
    candidates = sorted(path.glob(PATTERN), reverse=True) if path.is_dir() else [path] if path.exists() else []
    for candidate in candidates:
        found = _read(candidate)
        if found is not None:
            return found
    what = "is not a run record" if path.exists() else "does not exist"
    raise UserError(
        f"{path}: {what}; give a folder that 'mmforget run' or 'mmforget eval' wrote (it holds results_<time>.json)"
    )


class Collected(NamedTuple):
    """What lies at or below some paths.

    Attributes:
        runs: the newest record of every folder, sorted by place.
        faults: what is wrong with the others, one line each.
        notes: what was left out for no fault of its own.
    """

    runs: list[StoredRun]
    faults: list[str]
    notes: Sequence[str] = ()


def find_records(paths: Iterable[Path]) -> list[StoredRun]:
    """The newest record of every folder at or below `paths`, sorted by place. Files of other programs are ignored.

    Raises BadData naming every record that is damaged, UserError for a path that does not exist or holds no record.
    """
    found = collect_records(paths)
    if found.faults:
        raise BadData("run records", faults=found.faults)
    return found.runs


def collect_records(paths: Iterable[Path]) -> Collected:
    """`find_records` that passes over what is damaged, and names it.

    A folder whose newest record is damaged gives none: an older one would be taken for it. Raises UserError for a path
    that does not exist or holds no record.
    """
    found: dict[str, StoredRun] = {}
    faults: list[str] = []
    notes: list[str] = []
    real = cache(os.path.realpath)
    with without_garbage_collection():
        for path in paths:
            below = _find_below(path)
            faults += [fault for fault in below.faults if fault not in faults]
            notes += [note for note in below.notes if note not in notes]
            if not (below.runs or below.faults or below.notes):
                read_run(path)
            found.update({_real(run.path, folder=real(run.folder)): run for run in below.runs})
    if not found and not faults:
        raise UserError("; ".join(notes) or "no folder named; give one that 'mmforget run' or 'mmforget eval' wrote")
    return Collected([found[key] for key in sorted(found)], faults, notes)


def _real(path: Path, *, folder: str) -> str:
    """The place of a file that lies in a folder whose place is known; of a link that of its file."""
    return os.path.realpath(path) if path.is_symlink() else os.path.join(folder, path.name)


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Inside, nobody looks for circles among ever more records, which have none: a third of the time of reading."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _find_below(path: Path) -> Collected:
    files = files_below(path, PATTERN)[::-1] if path.is_dir() else [path] if path.exists() else []
    runs: dict[Path, StoredRun] = {}
    damaged: dict[Path, str] = {}
    notes = []
    for file in files:
        if file.parent in runs or file.parent in damaged:
            continue
        try:
            run = _read(file)
        except UserError as error:
            if not _is_foreign(file):
                damaged[file.parent] = str(error)
                continue
            run = None
        if run is None:
            notes.append(f"passed over: {file}: of another program, not a record of mmforget")
        else:
            runs[file.parent] = run
    return Collected(list(runs.values()), list(damaged.values()), notes)


def _is_foreign(path: Path) -> bool:
    """Whether a file that is no record is another program's: lm_eval writes NaN, which is no JSON and none of ours."""
    try:
        document = json.loads(read_text(path, max_bytes=MAX_RESULTS_BYTES))
    except (UserError, ValueError, RecursionError):
        return False
    return not (isinstance(document, dict) and KEY in document)


def _read(path: Path) -> StoredRun | None:
    """The record in a results file, or None where the file is not ours."""
    text = read_text(path, max_bytes=MAX_RESULTS_BYTES)
    document = parse_json(text, place=str(path), takes_depth=True)
    if is_deep(
        {key: value for key, value in document.items() if key != KEY} if isinstance(document, dict) else document
    ):
        raise UserError(f"{path}: nested deeper than {MAX_DEPTH} levels; {RESTORE}")
    if not isinstance(document, dict) or KEY not in document:
        return None
    record = RunRecord.from_json(document.pop(KEY), source=str(path))
    return StoredRun(record, path, document)


def seed_folder(seed: int) -> str:
    """The folder of one of several trainings, below that of the method or the retain model."""
    return f"seed_{seed}"


def home_of(folder: Path) -> Path:
    """The folder of the run that a record's folder belongs to."""
    home = folder.resolve().parent
    return home.parent if re.fullmatch(r"seed_\d+", folder.name) else home


def folders_beside(folder: Path) -> list[Path]:
    """The folders of records of the same run, this one included: a method's, or one of a method's seeds."""
    home = home_of(folder)
    return sorted({file.parent for depth in ("*", "*/seed_*") for file in home.glob(f"{depth}/{PATTERN}")})


def safe_name(text: str) -> str:
    """`text` as a file or folder name: letters, digits, dot, dash and underscore; the rest becomes a dash."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "run"
