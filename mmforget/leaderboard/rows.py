"""A row of `leaderboard.json`: everything that a record says of one model, but its answers.

It follows the leaderboard template of the Hugging Face Hub (`config`, `results`: task to metric to number) and adds
what that cannot say: intervals, directions, ranges, eligibility with reasons, the verdict, and where the record lies.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Mapping
from functools import cache, lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any

from mmforget.leaderboard import evidence, words
from mmforget.leaderboard.board import Board, BoardRow
from mmforget.leaderboard.tuning import told_of
from mmforget.results.codec import json_line
from mmforget.results.fingerprint import hash_file
from mmforget.results.schema import MetricResult, RunRecord
from mmforget.results.store import SeedRun, StoredRun
from mmforget.types import Estimate

MAX_KNOWN = 2**16
"""Names that are kept: those of one board are alike."""
LEVEL = 0.95
"""Of every interval."""
TUNING = ("budget", "num_trials", "is_own_grid", "seed", "chosen")
"""What a row says at a glance of how settings were chosen; all of it stands under `training.tuning`."""
ENDS = ("value", "low", "high")
SHARED = ("higher_is_better", "range", "num_scored", "num_unscored", "num_lacking", "num_subjects", "constant",
          "reasons")  # fmt: skip
"""Fields of an estimate that are the same in many."""
_shared = attrgetter(*SHARED)
SOURCE = ("version", "commit", "dirty", "packages", "python", "platform", "device", "num_threads", "seeds", "started",
          "wall_s", "peak_memory_bytes")  # fmt: skip
"""Of the provenance, what a row repeats: all but the command line, which may name private places."""
PERSONAL = ("request", "forgets")
"""What records of a request of one's own say of people, which the report of it is for."""


def row_of(board: Board, row: BoardRow, *, folder: Path) -> dict[str, Any]:
    """A row, with dataclasses, mappings and tuples as they are; infinite ends of ranges are None.

    Args:
        folder: where the document will lie; record paths are relative to it.
    """
    record = row.record
    return {
        **about(board, row, folder=folder),
        "results": results_of(record),
        "headline": {name: _estimate(value) for name, value in record.headline.items()},
        "metrics": [_metric(record, result) for result in record.metrics],
    }


def about(board: Board, row: BoardRow, *, folder: Path) -> dict[str, Any]:
    """`row_of` without the numbers, which are most of it."""
    record = row.record
    return {
        "board": board.name,
        "benchmark": record.benchmark,
        "role": record.role,
        "name": record.name,
        "label": row.label,
        "rank": row.rank,
        "tied": row.tied,
        "rank_range": row.rank_range,
        "rank_note": words.place_note(row),
        "eligible": row.eligibility.eligible and not row.is_reference,
        "reasons": row.eligibility.reasons,
        "notes": row.eligibility.notes,
        "findings": row.eligibility.findings,
        "unverified": row.unverified or None,
        "verdict": record.verdict,
        "access": evidence.accesses(row),
        "not_shown": [] if row.is_reference else evidence.not_shown([row]),
        "gate": record.gate,
        "config": _config(record),
        "model_info": record.model_info,
        "data": _data(record),
        "sets": record.sets,
        "judge": record.judge,
        "seeds": [_seed(one, folder=folder) for one in row.seeds],
        "seed_shares": row.seed_shares,
        "intervals": _intervals(row),
        "answer_states": record.answer_states,
        "levels": record.levels,
        "sequence": record.sequence,
        "training": record.training,
        "tuning": {key: told_of(row).get(key) for key in TUNING} if told_of(row) else None,
        "cost": record.cost,
        "samples": {} if row.seeds else record.files,
        "num_nonfinite": record.num_nonfinite,
        "provenance": _provenance(row, folder=folder),
    }


def metric_key(result: MetricResult) -> str:
    """Flat name of a metric in `results`, e.g. `rouge_l_clean` or `rouge_l_clean_blank_image`."""
    return _joined(result.name, result.profile, result.attack)


def task_key(record: RunRecord, result: MetricResult) -> str:
    """Task that a metric stands under in `results`; composites stand under benchmark and set."""
    return result.task or composite_key(record.benchmark.name, result.set)


def composite_key(benchmark: str, set_name: str) -> str:
    """What stands in place of a task where a metric is of none."""
    return _joined(benchmark, set_name)


@lru_cache(maxsize=MAX_KNOWN)
def _joined(*parts: str | None) -> str:
    return "_".join(part for part in parts if part)


def results_of(record: RunRecord) -> dict[str, dict[str, float]]:
    """Task to metric to number; what was not measured is left out, since the template knows only numbers."""
    results: dict[str, dict[str, float]] = defaultdict(dict)
    for name, estimate in record.headline.items():
        if estimate.value is not None:
            results[record.benchmark.group or record.benchmark.name][name] = estimate.value
    for result in record.metrics:
        if result.estimate.value is not None:
            results[task_key(record, result)][metric_key(result)] = result.estimate.value
    return dict(results)


def _seed(one: SeedRun, *, folder: Path) -> dict[str, Any]:
    """One of the trainings that a row stands for."""
    place = {"record": _relative(one.path, folder), "sha256": sha256_of(one)}
    return {"seed": one.seed, "overall": one.overall, **place}


def _config(record: RunRecord) -> dict[str, Any]:
    info, method = record.model_info, record.method
    return {
        "model_name": f"{info.get('pretrained') or record.benchmark.name}:{record.name}",
        "model_sha": info.get("fingerprint"),
        "model_dtype": info.get("dtype"),
        "quantisation": info.get("quantisation"),
        "base_model": info.get("pretrained"),
        "base_sha": info.get("base_fingerprint"),
        "adapter_sha": info.get("adapter_fingerprint"),
        "method": method.name if method else None,
        "method_args": method.args if method else {},
        "recipe": method.recipe if method else "",
        "seed": method.seed if method else record.provenance.seeds.get("training"),
        "forget_split": record.benchmark.setting,
        "target_sha": record.references.get("target"),
        "retain_sha": record.references.get("retain"),
    }


def _data(record: RunRecord) -> Mapping[str, Any]:
    """Where the rows came from, for everybody to read: neither who is forgotten nor who asked, and no paths."""
    shown = {key: value for key, value in record.data.items() if key not in PERSONAL}
    path = shown.get("path")
    return {**shown, "path": Path(path).name} if isinstance(path, str) else shown


def _intervals(row: BoardRow) -> dict[str, Any]:
    """What all intervals of a row are; `docs/intervals.md` says how they are made."""
    over = ["subject", "seed"] if row.seeds else ["subject"]
    return {"level": LEVEL, "over": over, "method": "jackknife"}


def _metric(record: RunRecord, result: MetricResult) -> dict[str, Any]:
    return {**_place(record, result), **_estimate(result.estimate)}


def _place(record: RunRecord, result: MetricResult) -> dict[str, Any]:
    """What a metric is of."""
    return {
        "task": task_key(record, result),
        "kind": result.kind,
        "metric": result.name,
        "set": result.set,
        "profile": result.profile,
        "attack": result.attack,
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    """Value, interval, direction, range (null: unbounded), counts."""
    return {**{name: getattr(estimate, name) for name in ENDS}, **_told(estimate)}


def _told(estimate: Estimate) -> dict[str, Any]:
    """All of an estimate that many share."""
    low, high = estimate.range
    is_bounded = low > -math.inf and high < math.inf
    return {
        "higher_is_better": estimate.higher_is_better,
        "range": estimate.range if is_bounded else [one if math.isfinite(one) else None for one in (low, high)],
        "num_scored": estimate.num_scored,
        "num_unscored": estimate.num_unscored,
        "num_lacking": estimate.num_lacking,
        "num_subjects": estimate.num_subjects,
        "constant": estimate.constant,
        "reasons": estimate.reasons,
    }


def row_text(board: Board, row: BoardRow, *, folder: Path) -> str:
    """`row_of` as one line of JSON, in half the time: what many numbers share is made into text once."""
    record = row.record
    headline = (f"{json_line(name)}: {{{_estimate_text(one)}}}" for name, one in record.headline.items())
    metrics = (f"{{{_place_text(record, one)}, {_estimate_text(one.estimate)}}}" for one in record.metrics)
    head = json_line(about(board, row, folder=folder)).removesuffix("}")
    return (
        f'{head}, "results": {json_line(results_of(record))}, "headline": {{{", ".join(headline)}}}, '
        f'"metrics": [{", ".join(metrics)}]}}'
    )


def _place_text(record: RunRecord, one: MetricResult) -> str:
    return _items_text(*_place(record, one).items())


@lru_cache(maxsize=MAX_KNOWN)
def _items_text(*items: tuple[str, Any]) -> str:
    return json_line(dict(items))[1:-1]


def _estimate_text(one: Estimate) -> str:
    ends = f'"value": {_number(one.value)}, "low": {_number(one.low)}, "high": {_number(one.high)}'
    return f"{ends}, {_told_text(*_shared(one))}"


@lru_cache(maxsize=MAX_KNOWN)
def _told_text(*shared: Any) -> str:
    return json_line(_told(Estimate(None, None, None, **dict(zip(SHARED, shared, strict=True)))))[1:-1]


def _number(value: float | None) -> str:
    return float.__repr__(value) if type(value) is float and value - value == 0 else json_line(value)


def _provenance(row: BoardRow, *, folder: Path) -> dict[str, Any]:
    """Where the whole record lies, with its hash, and what ran where."""
    source = vars(row.record.provenance)
    here = {"record": _relative(row.path, folder), "sha256": sha256_of(row)}
    return {**here, **{key: source[key] for key in SOURCE}}


def sha256_of(one: BoardRow | SeedRun | StoredRun) -> str | None:
    """Of a record's file, as its exported row says, or of the file where it was read from that; None: not known."""
    if one.sha256 is not None:
        return one.sha256 or None
    return hash_file(one.path) if one.path.is_file() else None


def _relative(path: Path, folder: Path) -> str:
    return os.path.join(_steps(os.path.dirname(path), os.fspath(folder)), os.path.basename(path)).replace(os.sep, "/")


@cache
def _steps(place: str, folder: str) -> str:
    found = os.path.relpath(place or ".", folder)
    return "" if found == "." else found
