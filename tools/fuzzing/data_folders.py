"""Folders of official files with one wrong value, line or file: FIUBench's, MMUBench's and MedForget's."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from mmforget.errors import printable
from tests.unit.protocols import medforget_files, mmubench_files, official_files
from tools.fuzzing.trials import (
    Kind,
    Outcome,
    as_json,
    copy,
    damage_file,
    damage_value,
    replace,
    run,
    told,
    watched,
)

SETS = {"fiubench_forget1": ("forget", "rephrase"), "mmubench": (), "medforget": ()}
"""Benchmarks, with the sets that are read; of those without, all."""


def prepare(folder: Path) -> None:
    """Sound folders, of which each case damages one."""
    official_files.write_official(folder / "fiubench_forget1")
    mmubench_files.write_official(folder / "mmubench", num_tests=8)
    medforget_files.write_medforget(folder / "medforget")


def trial(folder: Path, rng: random.Random, place: Path) -> Outcome:
    """One case on a damaged copy of what lies in `folder`."""
    name = rng.choice(("fiubench_forget1", "mmubench", "mmubench", "medforget", "medforget"))
    data = copy(folder / name, place / "data")
    what = f"{name} {damaged(data, rng)}"
    return watched(place, lambda: told(run(lambda: read(name, data)), what=what))


def damaged(folder: Path, rng: random.Random) -> str:
    """One damage: a value of a JSON file or line, or a whole file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    texts = [path for path in files if path.suffix in (".json", ".jsonl")]
    if texts and rng.random() < 0.7:
        path = rng.choice(texts)
        act: Callable[[Path, random.Random], str] = _line if path.suffix == ".jsonl" else _document
        return f"{path.name}: {act(path, rng)}"
    return damage_file(rng.choice(files), rng)


def read(name: str, folder: Path) -> int:
    """Every row that a run would read; 2 where something is wrong, which is said."""
    from mmforget.benchmark.source import DataSource
    from mmforget.benchmark.validate import check_benchmark

    bound = _benchmark(name).bind(DataSource.parse(str(folder)))
    if SETS[name]:
        for used in SETS[name]:
            for row in bound.rows(used):
                json.dumps({key: value for key, value in row.items() if key != "images"})
        return 0
    report = check_benchmark(bound)
    print(printable("\n".join(report.faults)))
    return 2 if report.faults else 0


@cache
def _benchmark(name: str) -> Any:
    from mmforget.benchmark.find import find

    return find(name)


def _document(path: Path, rng: random.Random) -> str:
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError:
        return _line(path, rng)
    what = damage_value(document, rng)
    replace(path, as_json(document))
    return what


def _line(path: Path, rng: random.Random) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    number = rng.randrange(len(lines))
    record = json.loads(lines[number])
    what = damage_value(record, rng)
    lines[number] = as_json(record).decode("utf-8", "surrogatepass")
    replace(path, ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass"))
    return f"line {number}: {what}"


KIND = Kind("data", prepare, trial)
