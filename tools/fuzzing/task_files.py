"""Task files and plugins of other authors with a wrong value, line or file: listed, opened, tried."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from mmforget.errors import printable
from tests.plugin_packages import MILD, write_package
from tests.toy_tasks import write_toy
from tools.fuzzing.trials import Kind, Outcome, copy, damage_file, damage_value, replace, run, told, watched

METRIC = """
from dataclasses import dataclass
from mmforget.metrics.estimate import mean_estimate
from mmforget.types import Score

@dataclass(frozen=True)
class Words:
    name: str = "theirs"
    profiles: tuple = ("clean",)
    range: tuple = (0.0, 1.0)
    higher_is_better: bool = False
    kind: str = "gen"

    def score(self, sample, *, profile="clean"):
        words = (sample.response or "").split()
        return Score(1.0 / (1 + len(words)), sample.subject)

    def aggregate(self, scores):
        return mean_estimate(self, scores)

METRIC = Words()
"""
TOKENS = (
    "None",
    "1 / 0",
    "[]",
    "''",
    "self",
    "x.y",
    "float('nan')",
    "float('inf')",
    "-1",
    "{}",
    "print",
    "(",
    "@",
    "9" * 99,
)
POINTS = (
    "theirs = theirs",
    "theirs = theirs:NONE",
    "theirs =",
    "= theirs",
    "npo = theirs",
    "a\x1bb = theirs",
    "x" * 999,
)


def prepare(folder: Path) -> None:
    """A benchmark in a folder."""
    write_toy(folder / "toy")


def trial(folder: Path, rng: random.Random, place: Path) -> Outcome:
    """One case on a damaged copy of what lies in `folder`."""
    if rng.random() < 0.5:
        what = damaged_tasks(copy(folder / "toy", place / "toy"), rng)
        return watched(place, lambda: told(run(lambda: opened(place / "toy")), what=what))
    kind = rng.choice(("metric", "method"))
    what = damaged_plugin(place / "site", kind=kind, rng=rng)
    return watched(place, lambda: told(run(lambda: tried(place / "site", kind=kind)), what=what))


def damaged_tasks(folder: Path, rng: random.Random) -> str:
    """One damage to a task file, to the base that they include, or to the loader."""
    path = rng.choice(sorted(folder.iterdir()))
    if path.suffix == ".yaml" and rng.random() < 0.75:
        document: Any = yaml.safe_load(path.read_text())
        what = damage_value(document, rng)
        try:
            replace(path, yaml.safe_dump(document, sort_keys=False).encode("utf-8", "surrogatepass"))
        except yaml.YAMLError:
            return damage_file(path, rng)
        return f"{path.name} {what}"
    if path.suffix == ".yaml" or rng.random() < 0.5:
        return damage_file(path, rng)
    return f"{path.name} {_edited(path, path.read_text(), rng)}"


def damaged_plugin(site: Path, *, kind: str, rng: random.Random) -> str:
    """A plugin with a line or a word changed, or an entry point that leads nowhere."""
    point = "theirs = theirs" if rng.random() < 0.8 else rng.choice(POINTS)
    code = METRIC if kind == "metric" else MILD
    path = write_package(site, "theirs", code=code, points={f"mmforget.{kind}s": point})
    return f"{kind} {point[:40]!r} {_edited(path, code, rng)}"


def opened(folder: Path) -> int:
    """Lists and opens the benchmark; 2 where something is wrong, which is said."""
    from mmforget.benchmark.source import DataSource
    from mmforget.benchmark.validate import validate
    from mmforget.cli import ls

    listed = ls.collect(["tasks"], include_paths=[str(folder)])
    report = validate("toy", DataSource("synthetic"), include_paths=[folder])
    faults = [*listed.faults, *report.faults]
    print(printable("\n".join(faults)))
    return 2 if faults else 0


def tried(site: Path, *, kind: str) -> int:
    """Lists the plugins and tries this one as `validate` does, and one of ours beside it."""
    from mmforget.cli import ls
    from mmforget.cli.checks import check_plugin

    with installed(site):
        listed = ls.collect([f"{kind}s"])
        reports = [check_plugin("theirs"), check_plugin("exact_match" if kind == "metric" else "ga")]
    if reports[1] is None or reports[1].faults:
        raise AssertionError(f"another plugin is broken by this one: {reports[1]}")
    faults = [*listed.faults, *(reports[0].faults if reports[0] else ["unknown"])]
    print(printable("\n".join(faults)))
    return 2 if faults else 0


@contextmanager
def installed(site: Path) -> Iterator[None]:
    """Inside, the package in `site` is installed; afterwards nothing remembers it."""
    from mmforget.methods.base import METHODS
    from mmforget.metrics.base import METRICS

    sys.path.insert(0, str(site))
    for registry in (METHODS, METRICS):
        vars(registry).pop("_found", None)
    try:
        yield
    finally:
        sys.path.remove(str(site))
        sys.modules.pop("theirs", None)
        sys.path_importer_cache.pop(str(site), None)
        for registry in (METHODS, METRICS):
            vars(registry).pop("_found", None)


def _edited(path: Path, code: str, rng: random.Random) -> str:
    """A line of code missing, doubled, or with one of its words another."""
    lines = code.splitlines()
    number = rng.choice([index for index, line in enumerate(lines) if line.strip()])
    how = rng.choice(("missing", "doubled", "word", "word", "word"))
    if how == "missing":
        del lines[number]
    elif how == "doubled":
        lines.insert(number, lines[number])
    else:
        indent = lines[number][: len(lines[number]) - len(lines[number].lstrip())]
        words = lines[number].split()
        words[rng.randrange(len(words))] = rng.choice(TOKENS)
        lines[number] = indent + " ".join(words)
    replace(path, "\n".join(lines).encode())
    return f"line {number} {how}: {lines[min(number, len(lines) - 1)].strip()[:60]!r}"


KIND = Kind("tasks", prepare, trial)
