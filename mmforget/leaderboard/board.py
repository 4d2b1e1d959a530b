"""Records that can be compared with one another, in order: references first, then ranked rows, then refused ones."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from mmforget.results.deciding import place_of
from mmforget.results.rules import Eligibility, eligibility, forget_set, is_collapsed
from mmforget.results.schema import BenchmarkUse, GateResult, RunRecord
from mmforget.results.store import SeedRun, StoredRun
from mmforget.types import Estimate

REFERENCE_ORDER = ("base", "target", "retain", "relearned")
NOTHING = Estimate(value=None)


@dataclass(frozen=True)
class BoardRow:
    """One model on a board."""

    record: RunRecord
    """The record."""
    path: Path
    """The results file it came from."""
    eligibility: Eligibility
    """Whether it is ranked, and why not."""
    label: str
    """Its name, told apart from others of the same name on the board by seed, model or folder."""
    seeds: tuple[SeedRun, ...] = ()
    """The trainings that it stands for, where these are several."""
    seed_shares: Mapping[str, float] = field(default_factory=dict)
    """Share of the variance of its headline numbers that is due to the seeds, where that is known."""
    rank: int | None = None
    """Place, 1 is best; equal values share a place; None for references and refused rows."""
    tied: bool = False
    """Whether another row shares that place."""
    rank_range: tuple[int, int] | None = None
    """Places that the 95 % intervals allow: rows whose intervals overlap may trade places. None without an interval:
    nobody can tell then, and such a row may stand above or below any other."""

    unverified: str = ""
    """Why nobody can compute its numbers again from its samples; empty where anybody can."""
    sha256: str | None = None
    """Of its results file, where only an exported row is there; None where the file was read."""

    @property
    def is_reference(self) -> bool:
        return self.record.role != "unlearned"

    @property
    def is_compared(self) -> bool:
        """Whether it is a retain model that was compared with another one: how far two of them lie apart."""
        reference = self.record.references.get("retain")
        return self.record.role == "retain" and reference not in (None, self.record.model_info.get("fingerprint"))

    @property
    def collapsed(self) -> bool:
        return is_collapsed(self.record)

    @property
    def forget_set(self) -> str:
        return forget_set(self.record)

    def headline(self, name: str) -> Estimate:
        """`overall`, `forget_score`, `utility` or `utility_ratio`; an empty estimate where there is none."""
        return self.record.headline.get(name, NOTHING)


@dataclass(frozen=True)
class Board:
    """All records of one benchmark, setting, modality and profile that were asked the same tasks in the same way."""

    benchmark: BenchmarkUse
    """What they were measured on."""
    references: tuple[BoardRow, ...]
    """Base, target and retain models."""
    ranked: tuple[BoardRow, ...]
    """Eligible rows from best to worst, by verdict and then by `overall`; collapsed ones last."""
    refused: tuple[BoardRow, ...]
    """Rows that may not be ranked, each with its reasons."""
    number: int = 1
    """Which of the boards of one name this is: they differ in what was asked, or which rows were to be forgotten."""

    @cached_property
    def rows(self) -> tuple[BoardRow, ...]:
        return (*self.references, *self.ranked, *self.refused)

    @cached_property
    def gates(self) -> tuple[GateResult, ...]:
        """The distinct gate results of the board's rows; one where all were compared with one target."""
        return tuple(dict.fromkeys(row.record.gate for row in self.rows if row.record.gate is not None))

    @property
    def forget_set(self) -> str:
        """Name of the set that was to be forgotten, as the gate measures it."""
        return self.rows[0].forget_set

    @cached_property
    def forget_sets(self) -> frozenset[str]:
        """That name as each row's gate has it."""
        return frozenset(row.forget_set for row in self.rows)

    @cached_property
    def recall_metric(self) -> str:
        """The metric that `recall` shows: whole answers, or else the gate's; empty where none was measured."""
        if any(row.record.metric("exact_match", set=row.forget_set) for row in self.rows):
            return "exact_match"
        return self.gates[0].metric if self.gates else ""

    @property
    def name(self) -> str:
        """Short name for file names and rows; no two boards of a leaderboard share one."""
        use = self.benchmark
        modality = "" if use.modality == "image" else use.modality
        number = str(self.number) if self.number > 1 else ""
        return "_".join(part for part in (use.name, use.setting, modality, use.profile, number) if part)

    @property
    def null_band(self) -> tuple[BoardRow, ...]:
        """Retain models compared with the first one: their numbers are what chance makes of a perfect score."""
        return tuple(row for row in self.references if row.is_compared)

    def find(self, role: str) -> BoardRow | None:
        """The first reference of a role."""
        return next((row for row in self.references if row.record.role == role), None)


def boards(runs: Sequence[StoredRun]) -> list[Board]:
    """One board for every benchmark, setting, modality, profile, way of asking, choice of tasks and forget set.

    In the order in which the runs come. A record that was not asked the forget set joins the first board that it
    otherwise fits.
    """
    groups: dict[_Key, list[StoredRun]] = defaultdict(list)
    unsure: list[StoredRun] = []
    for run in runs:
        forget = run.record.sets.get(forget_set(run.record))
        if forget is None or not forget.rows_hash:
            unsure.append(run)
        else:
            groups[_Key(_place(run), tasks_of(run.record), forget.rows_hash)].append(run)
    for run in unsure:
        keys = [key for key in groups if key.place == _place(run)]
        groups[keys[0] if keys else _Key(_place(run), (), "")].append(run)
    return _numbered([_board(group) for group in groups.values()])


def _numbered(boards: Sequence[Board]) -> list[Board]:
    """The boards, those that share a name told apart by their number."""
    seen: Counter[str] = Counter()
    found = []
    for board in boards:
        seen[board.name] += 1
        found.append(replace(board, number=seen[board.name]))
    return found


class _Key(NamedTuple):
    """What the records of a board have in common."""

    place: tuple[str, ...]
    tasks: tuple[str, ...]
    forget_rows: str


def _place(run: StoredRun) -> tuple[str, ...]:
    use = run.record.benchmark
    return (use.name, use.setting, use.modality, use.profile, use.asked)


def tasks_of(record: RunRecord) -> tuple[str, ...]:
    """The tasks a record's metrics come from, sorted: a forget score of other tasks is another number."""
    return tuple(sorted({result.task for result in record.metrics if result.task}))


def _board(runs: Sequence[StoredRun]) -> Board:
    rows = [_row(run, label=label) for run, label in zip(runs, _labels(runs), strict=True)]
    references = [row for row in rows if row.is_reference]
    candidates = [row for row in rows if not row.is_reference]
    return Board(
        benchmark=rows[0].record.benchmark,
        references=tuple(sorted(references, key=_reference_order)),
        ranked=tuple(rank([row for row in candidates if row.eligibility.eligible])),
        refused=tuple(sorted((row for row in candidates if not row.eligibility.eligible), key=_order)),
    )


def _row(run: StoredRun, *, label: str) -> BoardRow:
    found = eligibility(run.record, absent=run.absent, unverified=run.unverified, num_seeds=max(1, len(run.seeds)))
    return BoardRow(
        run.record, run.path, found, label, seeds=run.seeds, seed_shares=run.seed_shares, unverified=run.unverified,
        sha256=run.sha256,
    )  # fmt: skip


def _reference_order(row: BoardRow) -> tuple[int, bool]:
    """By role; of several retain models the one first that is compared with no other."""
    return REFERENCE_ORDER.index(row.record.role), row.is_compared


def _labels(runs: Sequence[StoredRun]) -> list[str]:
    """Names of the records; where several share one, with the first thing in brackets that tells them all apart."""
    labels = [run.record.name for run in runs]
    places: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(labels):
        places[name].append(index)
    for name, same in places.items():
        if len(same) > 1:
            for index, mark in zip(same, _marks([runs[index] for index in same]), strict=True):
                labels[index] = f"{name} ({mark})"
    return labels


def _marks(runs: Sequence[StoredRun]) -> list[str]:
    """One word for each run, all different: its seed, its model, a folder of its path, or its number."""
    seeds = [_seed(run.record) for run in runs]
    models = [str(run.record.model_info.get("pretrained", "")) for run in runs]
    folders = [run.path.resolve().parent.parts[::-1] for run in runs]
    levels = [[parts[level] for parts in folders] for level in range(min(map(len, folders)))]
    numbers = [f"#{index + 1}" for index in range(len(runs))]
    return next(marks for marks in (seeds, models, *levels, numbers) if len(set(marks)) == len(runs) and all(marks))


def _seed(record: RunRecord) -> str:
    """The seed of the training that made a model; empty where none is known."""
    seed = record.method.seed if record.method else record.provenance.seeds.get("stage_one")
    return "" if seed is None else f"seed {seed}"


def rank(rows: Sequence[BoardRow]) -> list[BoardRow]:
    """Rows ordered by verdict (`deciding.ORDER`, collapsed ones last), then by `overall`, equal ones sharing a place.

    `rank_range` counts the rows that are surely better and surely worse: those of another verdict, and of the same one
    those whose interval lies wholly above or below. A row without an interval is surely neither among those of its
    verdict, and has no range itself.
    """
    ordered = sorted(rows, key=_order)
    keys = [_order(row)[:2] for row in ordered]
    groups, places = Counter(keys), Counter(key[0] for key in keys)
    bounds = {place: _Bounds([row for row in ordered if _order(row)[0] == place]) for place in places}
    ranked = []
    for row, key in zip(ordered, keys, strict=True):
        above, below = (sum(num for place, num in places.items() if (place - key[0]) * side > 0) for side in (-1, 1))
        own = bounds[key[0]]
        better, worse = above + own.num_above(row), below + own.num_below(row)
        ranked.append(
            replace(
                row,
                rank=bisect_left(keys, key) + 1,
                tied=groups[key] > 1,
                rank_range=(better + 1, len(ordered) - worse) if _has_interval(row) else None,
            )
        )
    return ranked


class _Bounds:
    """The bounds of `overall` of several rows, sorted, so that comparing each with all costs N log N."""

    def __init__(self, rows: Sequence[BoardRow]) -> None:
        self.lows = sorted(_bounds(row)[0] for row in rows)
        self.highs = sorted(_bounds(row)[1] for row in rows)

    def num_above(self, row: BoardRow) -> int:
        """How many intervals lie wholly above that of `row`."""
        return len(self.lows) - bisect_right(self.lows, _bounds(row)[1])

    def num_below(self, row: BoardRow) -> int:
        """How many intervals lie wholly below that of `row`."""
        return bisect_left(self.highs, _bounds(row)[0])


def _has_interval(row: BoardRow) -> bool:
    overall = row.headline("overall")
    return overall.low is not None and overall.high is not None


def _bounds(row: BoardRow) -> tuple[float, float]:
    """Between which the true `overall` lies; anywhere without an interval."""
    overall = row.headline("overall")
    if overall.low is None or overall.high is None:
        return -math.inf, math.inf
    return overall.low, overall.high


def _order(row: BoardRow) -> tuple[int, float, str]:
    value = row.headline("overall").value
    return (place_of(row.record.verdict), math.inf if value is None else -round(value, 9), row.label)
