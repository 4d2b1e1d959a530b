"""Logs as other harnesses write them: lm_eval's results, and Inspect's evaluation log of version 2."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from mmforget.leaderboard.board import Board, BoardRow
from mmforget.leaderboard.formats.base import Written, digest, finite, placed, setup
from mmforget.leaderboard.rows import metric_key, task_key
from mmforget.results.files import write_json
from mmforget.types import Estimate

FILTER = "none"
LOG_VERSION = 2


def write_lm_eval(boards: Sequence[Board], folder: Path, generated: str) -> Written:
    """`lm_eval/<model>/results_<time>.json`, as lm_eval writes it; for standard errors N/A stands there."""
    time = datetime.fromisoformat(generated).strftime("%Y-%m-%dT%H-%M-%S.%f")
    paths = [
        write_json(folder / "lm_eval" / stem / f"results_{time}.json", _results(board, row))
        for board, row, stem in placed(boards)
    ]
    return Written(paths, [])


def write_inspect(boards: Sequence[Board], folder: Path, generated: str) -> Written:
    """`inspect/<model>.json`: a log without samples, of every row."""
    paths = [
        write_json(folder / "inspect" / f"{stem}.json", _log(board, row, stem=stem, generated=generated))
        for board, row, stem in placed(boards)
    ]
    return Written(paths, [])


def _results(board: Board, row: BoardRow) -> dict[str, Any]:
    record = row.record
    group = record.benchmark.group or record.benchmark.name
    numbers = [(group, name, one) for name, one in record.headline.items()]
    numbers += [(task_key(record, one), metric_key(one), one.estimate) for one in record.metrics]
    results: dict[str, dict[str, Any]] = defaultdict(dict)
    better: dict[str, dict[str, bool | None]] = defaultdict(dict)
    counts: dict[str, dict[str, int]] = defaultdict(lambda: {"original": 0, "effective": 0})
    for task, name, estimate in numbers:
        if estimate.value is None:
            continue
        results[task].update({f"{name},{FILTER}": estimate.value, f"{name}_stderr,{FILTER}": "N/A"})
        better[task][name] = estimate.higher_is_better
        asked = estimate.num_scored + estimate.num_unscored + estimate.num_lacking
        for count in counts[task]:
            counts[task][count] = max(counts[task][count], asked)
    info, source = record.model_info, record.provenance
    pretrained = info.get("pretrained") or record.benchmark.name
    return {
        "results": {task: {"alias": task, **found} for task, found in results.items()},
        "group_subtasks": {},
        "configs": {task: {"task": task, "metadata": {"profile": record.benchmark.profile}} for task in results},
        "versions": dict.fromkeys(results, source.version),
        "n-shot": dict.fromkeys(results, 0),
        "higher_is_better": better,
        "n-samples": counts,
        "config": {
            "model": "mmforget",
            "model_args": f"pretrained={pretrained}",
            "model_dtype": info.get("dtype"),
            "model_sha": info.get("fingerprint"),
            "model_num_parameters": info.get("num_parameters"),
            "device": source.device,
            "batch_size": None,
            "limit": None,
        },
        "git_hash": source.commit,
        "date": _seconds(source.started),
        "model_source": "mmforget",
        "model_name": f"{pretrained}:{row.label}",
        "total_evaluation_time_seconds": str(record.cost.wall_s),
        "board": {"name": board.name, "rank": row.rank, "setup": setup(row)},
    }


def _seconds(time: str) -> float | None:
    """Since 1970, of an ISO 8601 time; None for a text that is none, since records come from strangers."""
    try:
        return datetime.fromisoformat(time).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _log(board: Board, row: BoardRow, *, stem: str, generated: str) -> dict[str, Any]:
    record = row.record
    asked = sum(use.num_questions for use in record.sets.values())
    mark = digest(board.name, row.label, str(row.path))[:22]
    return {
        "version": LOG_VERSION,
        "status": "success",
        "eval": {
            "eval_id": mark,
            "run_id": mark,
            "task_id": mark,
            "created": record.provenance.started,
            "task": board.name,
            "task_version": 0,
            "dataset": {"name": record.benchmark.name, "samples": asked},
            "model": f"mmforget/{stem}",
            "model_args": {"fingerprint": record.model_info.get("fingerprint"), "method": setup(row)},
            "config": {},
            "packages": {"mmforget": record.provenance.version, **record.provenance.packages},
            "metadata": {"rank": row.rank, "eligible": row.eligibility.eligible, "reasons": row.eligibility.reasons},
        },
        "plan": {},
        "results": {
            "total_samples": asked,
            "completed_samples": asked,
            "scores": [
                *(_score(name, name, one, {}) for name, one in record.headline.items()),
                *(_score(f"{task_key(record, one)}/{metric_key(one)}", one.name, one.estimate, _params(one))
                  for one in record.metrics),
            ],
        },
        "stats": {"started_at": record.provenance.started, "completed_at": generated},
    }  # fmt: skip


def _params(one: Any) -> dict[str, Any]:
    return {"set": one.set, "profile": one.profile, "attack": one.attack}


def _score(name: str, scorer: str, estimate: Estimate, params: dict[str, Any]) -> dict[str, Any]:
    """A number with its counts; what was not measured has none, and says why."""
    told = {key: getattr(estimate, key) for key in ("low", "high", "higher_is_better", "num_lacking", "reasons")}
    told["range"] = [finite(end) for end in estimate.range]
    value = {"name": "value", "value": estimate.value, "metadata": told}
    return {
        "name": name,
        "scorer": scorer,
        "scored_samples": estimate.num_scored,
        "unscored_samples": estimate.num_unscored,
        "params": params,
        "metrics": {} if estimate.value is None else {"value": value},
        "metadata": told,
    }
