"""What two runs of one command come to, compared to the last bit: leaderboard, records, weights and logs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from mmforget.results.store import read_run
from mmforget.training.log import read_log
from tests.killing import Runner

ROW = (
    "rank",
    "tied",
    "rank_range",
    "eligible",
    "reasons",
    "verdict",
    "gate",
    "config",
    "results",
    "headline",
    "metrics",
    "seeds",
)
RECORD = ("metrics", "headline", "sets", "references", "examples", "levels", "gate", "verdict", "judge", "files")
# What a training cost depends on how often it was killed; what it came to does not.
COST_OF_TRAINING = ("wall_s", "peak_memory_bytes", "resumed_from")


def board(made: Runner) -> list[dict[str, Any]]:
    """The rows of the leaderboard, without what says when and where they were made."""
    rows = json.loads((made.output / "leaderboard.json").read_text())["rows"]
    for seed in (seed for row in rows for seed in row["seeds"]):
        # Its name has the time.
        del seed["record"]
    return [{"name": row["name"], **{key: row[key] for key in ROW}} for row in rows]


def record(made: Runner, place: str) -> dict[str, Any]:
    """A record's numbers and everything behind them, samples included."""
    run = read_run(made.output / place)
    training = without_cost(run.record.training)
    found = {key: getattr(run.record, key) for key in RECORD}
    return {**found, "training": training, "samples": run.samples(), "lm_eval": run.lm_eval["results"]}


def without_cost(value: Any) -> Any:
    """The same without what a training cost, at any depth: trials are trainings, too."""
    if isinstance(value, Mapping):
        return {key: without_cost(one) for key, one in value.items() if key not in COST_OF_TRAINING}
    return [without_cost(one) for one in value] if isinstance(value, list | tuple) else value


def records(made: Runner) -> list[str]:
    """The places of all records below the output folder, sorted."""
    return sorted(str(path.parent.relative_to(made.output)) for path in made.output.rglob("results_*.json"))


def weights(made: Runner) -> dict[str, Path]:
    """Every file of trained weights that a run leaves, by its place."""
    found = [*made.output.rglob("training/adapter/*.safetensors"), *made.cache.rglob("stage_one/*/model/*.safetensors")]
    return {str(path.relative_to(made.home)): path for path in found}


def log(path: Path) -> list[dict[str, Any]]:
    """The lines of a training's log, times aside."""
    return [{**line, "wall_s": 0} for line in read_log(path)]


def differing_weights(old: Path, new: Path) -> list[str]:
    """The names of tensors that are not in both files, or not the same in every bit."""
    before, after = load_file(old), load_file(new)
    changed = [name for name in before.keys() & after.keys() if not torch.equal(before[name], after[name])]
    return sorted(before.keys() ^ after.keys()) + sorted(changed)


def differences(calm: Runner, disturbed: Runner) -> list[str]:
    """One line for everything in which the disturbed run did not end as the undisturbed one did."""
    return [
        *_board_differences(calm, disturbed),
        *_record_differences(calm, disturbed),
        *_weight_differences(calm, disturbed),
        *_log_differences(calm, disturbed),
        *(f"left: {path}" for path in disturbed.home.rglob("checkpoint-*")),
        *(f"left: {path}" for path in disturbed.home.rglob(".*.tmp")),
    ]


def _board_differences(calm: Runner, disturbed: Runner) -> list[str]:
    old, new = board(calm), board(disturbed)
    if [row["name"] for row in old] != [row["name"] for row in new]:
        return [f"rows: {[row['name'] for row in old]}, {[row['name'] for row in new]}"]
    return [f"board, {one['name']}: {keys}" for one, other in zip(old, new, strict=True) if (keys := _keys(one, other))]


def _record_differences(calm: Runner, disturbed: Runner) -> list[str]:
    if records(calm) != records(disturbed):
        return [f"records: {records(calm)}, {records(disturbed)}"]
    found = {place: _keys(record(calm, place), record(disturbed, place)) for place in records(calm)}
    return [f"record {place}: {keys}" for place, keys in found.items() if keys]


def _keys(one: dict[str, Any], other: dict[str, Any]) -> Sequence[str]:
    return [key for key in one if one[key] != other[key]]


def _weight_differences(calm: Runner, disturbed: Runner) -> list[str]:
    old, new = weights(calm), weights(disturbed)
    if old.keys() != new.keys():
        return [f"weights: {sorted(old)}, {sorted(new)}"]
    found = {place: differing_weights(old[place], new[place]) for place in old}
    return [f"weights of {place}: {names[0]} and {len(names) - 1} more" for place, names in found.items() if names]


def _log_differences(calm: Runner, disturbed: Runner) -> list[str]:
    old, new = _logs(calm), _logs(disturbed)
    if old.keys() != new.keys():
        return [f"logs: {sorted(old)}, {sorted(new)}"]
    return [f"log {place}" for place in old if log(old[place]) != log(new[place])]


def _logs(made: Runner) -> dict[str, Path]:
    return {str(path.relative_to(made.home)): path for path in made.home.rglob("train_log.jsonl")}
