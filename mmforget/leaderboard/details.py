"""What the page shows below the ranking: all metrics, what it cost, how to run it again."""

from __future__ import annotations

import json
import shlex
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mmforget.leaderboard.board import Board, BoardRow, tasks_of
from mmforget.results.cannot_tell import Untold, is_untold
from mmforget.results.schema import MetricResult, Provenance
from mmforget.types import Estimate

CLOSENESS, GAP = "closeness/", "gap"
MetricKey = tuple[str, str, str | None, str]
PROFILE_ORDER = ("clean", "released", "paper")


@dataclass(frozen=True)
class MetricLine:
    """One metric on one set, for every model of a board."""

    name: str
    """Metric."""
    set: str
    """Set."""
    attack: str | None
    """What asked, e.g. `blank_image`; None for the benchmark itself."""
    higher_is_better: bool | None
    """Direction; None where nearness to the retain model counts."""
    estimates: tuple[Estimate | None, ...]
    """One for every model, in the order of `MetricTable.models`."""
    task: str
    """Task, where several ask the set in the same way (with and without image); else empty."""
    same: bool
    """True where all models have the same value, so that it ranks nothing."""
    untold: Untold | None = None
    """What was found where it cannot tell models with the knowledge from models without, on this benchmark."""


@dataclass(frozen=True)
class MetricTable:
    """All metrics of one profile."""

    profile: str
    """`clean`, `released`, `paper` or one that a metric owns."""
    models: tuple[str, ...]
    """Names of the columns."""
    lines: tuple[MetricLine, ...]
    """Rows."""


@dataclass(frozen=True)
class Reproduction:
    """A command and its surroundings, and the models that came out of it."""

    models: tuple[str, ...]
    """Names of the models."""
    command: str
    """Ready to paste into a shell."""
    facts: tuple[tuple[str, str], ...]
    """Label and value: commit, packages, device, ..."""


def metric_tables(board: Board) -> list[MetricTable]:
    """One table a profile, `clean` first."""
    found: dict[str, dict[MetricKey, dict[int, Estimate]]] = defaultdict(lambda: defaultdict(dict))
    for place, row in enumerate(board.rows):
        for result in row.record.metrics:
            found[result.profile][_key(result)].setdefault(place, result.estimate)
    profiles = sorted(found, key=lambda name: PROFILE_ORDER.index(name) if name in PROFILE_ORDER else 99)
    return [_metric_table(board, profile, found[profile]) for profile in profiles]


def _metric_table(board: Board, profile: str, found: Mapping[MetricKey, Mapping[int, Estimate]]) -> MetricTable:
    """`found`: by metric, then by place of the row on the board."""
    num_tasks = Counter(key[:3] for key in found)
    lines = []
    for key, by_row in found.items():
        estimates = tuple(by_row.get(place) for place in range(len(board.rows)))
        line = _line(key, estimates, task=key[3] if num_tasks[key[:3]] > 1 else "")
        lines.append(replace(line, untold=_untold(board, line, profile=profile)))
    return MetricTable(profile, tuple(row.label for row in board.rows), tuple(lines))


def closeness_table(board: Board) -> MetricTable:
    """The parts of the forget score, from headline entries `closeness/<set>/<metric>`; one column a method."""
    rows = [row for row in board.rows if not row.is_reference]
    keys = dict.fromkeys(key for row in rows for key in row.record.headline if key.startswith(CLOSENESS))
    lines = []
    for key in keys:
        set_name, _, metric = key.removeprefix(CLOSENESS).partition("/")
        estimates = tuple(row.record.headline.get(key) for row in rows)
        line = MetricLine(metric, set_name, None, True, estimates, task="", same=False)
        lines.append(replace(line, untold=_untold(board, line, profile="clean")))
    return MetricTable("clean", tuple(row.label for row in rows), tuple(lines))


def _untold(board: Board, line: MetricLine, *, profile: str) -> Untold | None:
    groups = dict.fromkeys(row.record.benchmark.group for row in board.rows)
    found = (
        is_untold(line.name, group=group, set_name=line.set, profile=profile, attack=line.attack) for group in groups
    )
    return next((one for one in found if one), None)


def gap_table(board: Board) -> MetricTable:
    """How far what was kept lies above what was forgotten, from headline entries `gap` and `gap/<level>`."""
    rows = board.rows
    keys = dict.fromkeys(key for row in rows for key in row.record.headline if key.partition("/")[0] == GAP)
    lines = []
    for key in keys:
        estimates = tuple(row.record.headline.get(key) for row in rows)
        lines.append(MetricLine(key.partition("/")[2] or "all", "", None, True, estimates, task="", same=False))
    return MetricTable("clean", tuple(row.label for row in rows), tuple(lines))


def reproductions(board: Board) -> list[Reproduction]:
    """The distinct commands behind a board's rows."""
    groups: dict[str, list[BoardRow]] = defaultdict(list)
    for row in board.rows:
        source = row.record.provenance
        groups[repr((source.command, source.commit, source.packages, source.device, source.seeds))].append(row)
    return [_reproduction(rows) for rows in groups.values()]


def data_facts(board: Board) -> list[tuple[str, str]]:
    """The tasks, and what the records say about the data, as label and value; only what is known."""
    tasks = max((tasks_of(row.record) for row in board.rows), key=len)
    found = {"tasks": ", ".join(tasks)} if tasks else {}
    for row in board.rows:
        for key, value in row.record.data.items():
            if key != "notes" and value not in (None, "", [], {}):
                found.setdefault(key.replace("_", " "), text(value))
    return list(found.items())


def text(value: Any) -> str:
    """A free-form value of a record as one line of text."""
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(item, (str, int, float)) for item in value):
        return ", ".join(str(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={text(item)}" for key, item in value.items())
    return json.dumps(value, default=str)


def count_text(count: Any) -> str:
    """A count with its thousands set apart; a dash for none."""
    return f"{count:,}" if isinstance(count, int) and not isinstance(count, bool) and count else "–"


def bytes_text(count: Any) -> str:
    """A memory size with its unit; a dash for none."""
    if not isinstance(count, (int, float)) or isinstance(count, bool) or count <= 0:
        return "–"
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def seconds_text(seconds: Any) -> str:
    """A duration for people; a dash for none."""
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or seconds <= 0:
        return "–"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.1f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def privacy_text(training: Mapping[str, Any]) -> str:
    """What the training of a row's base may tell of a row of its data, on one line; empty where it is not private."""
    base = training.get("base")
    privacy = base.get("privacy") if isinstance(base, Mapping) else None
    return text(privacy).replace("_", " ") if isinstance(privacy, Mapping) else ""


def _key(result: MetricResult) -> MetricKey:
    return (result.name, result.set, result.attack, result.task)


def _line(key: MetricKey, estimates: tuple[Estimate | None, ...], *, task: str) -> MetricLine:
    known = [estimate for estimate in estimates if estimate is not None]
    values = [estimate.value for estimate in known if estimate.value is not None]
    return MetricLine(
        name=key[0],
        set=key[1],
        attack=key[2],
        higher_is_better=known[0].higher_is_better,
        estimates=estimates,
        task=task,
        same=len(values) > 1 and len(set(values)) == 1,
    )


def _reproduction(rows: list[BoardRow]) -> Reproduction:
    source = rows[0].record.provenance
    facts = [("code", _code(source)), ("Python", source.python), ("platform", source.platform)]
    facts += [("device", f"{source.device}, {source.num_threads} threads"), ("started", source.started)]
    facts += [("seeds", text(source.seeds)), ("packages", text(source.packages))]
    again = rows[0].record.rescored
    facts += [("scored again", f"{again.started} with {_code(again)}")] if again else []
    return Reproduction(
        models=tuple(row.label for row in rows),
        command=shlex.join(source.command),
        facts=tuple((label, value) for label, value in facts if value),
    )


def _code(source: Provenance) -> str:
    code = f"mmforget {source.version}"
    if source.commit:
        code += f", commit {source.commit[:12]}" + (" with uncommitted changes" if source.dirty else "")
    return code
