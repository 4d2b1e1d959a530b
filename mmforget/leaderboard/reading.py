"""Rows of `leaderboard.json` as records again, so that exports of several people make one board.

A row has no answers and no numbers without each subject: what it says is taken as it stands, and it is unverified.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmforget.errors import UserError, shortened
from mmforget.leaderboard.export import SCHEMA_VERSION
from mmforget.leaderboard.rows import SOURCE, composite_key
from mmforget.reading import read_text
from mmforget.results.files import parse_json
from mmforget.results.schema import SCHEMA_VERSION as RECORD_VERSION
from mmforget.results.schema import RunRecord
from mmforget.results.store import SeedRun, StoredRun

MAX_BYTES = 2**28
"""Longest document that is read."""
DAMAGED = "the file is damaged, or no leaderboard.json: ask for it again"
UNKNOWN = ""
"""sha256 of a record that a row does not know."""
ESTIMATE = ("value", "low", "high", "num_scored", "num_unscored", "higher_is_better", "range", "constant", "reasons",
            "num_lacking", "num_subjects")  # fmt: skip


class Export(NamedTuple):
    """A `leaderboard.json`.

    Attributes:
        path: where it lies.
        document: its JSON, of which nothing but the version, and that it has rows, was looked at.
    """

    path: Path
    document: Mapping[str, Any]

    @property
    def rows(self) -> Sequence[Any]:
        found: Sequence[Any] = self.document["rows"]
        return found


def read_export(path: Path) -> Export:
    """Raises UserError for what is too large, no JSON, nested too deep, or no `leaderboard.json` of this version."""
    document = parse_json(read_text(path, max_bytes=MAX_BYTES), place=str(path), advice=DAMAGED)
    if not isinstance(document, dict) or not isinstance(document.get("rows"), list):
        raise UserError(f"{path}: is no leaderboard.json, which is an object with a list of rows; {DAMAGED}")
    version = document.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path}: schema_version is {shortened(version)}, this mmforget reads {SCHEMA_VERSION}; write it again "
            "from its runs with 'mmforget leaderboard'"
        )
    return Export(path, document)


def run_of(row: Any, *, folder: Path, source: str) -> StoredRun:
    """The record that a row is of, as far as the row has it.

    Args:
        folder: where the document lies.
        source: what messages call the row.

    Raises UserError naming the key that is missing or of the wrong type.
    """
    try:
        record = RunRecord.from_json(_record(row), source=source)
        seeds = tuple(_seed(one, folder=folder) for one in row["seeds"])
        place = _place(row["provenance"], folder=folder)
        shares = {str(name): float(share) for name, share in row["seed_shares"].items()}
        sha256 = _sha256(row["provenance"])
    except KeyError as error:
        raise UserError(f"{source}: keys are wrong: missing {error.args[0]}; it is no row of version 2") from None
    except (TypeError, AttributeError, ValueError, OverflowError):
        raise UserError(f"{source}: is no row: a part of it is of another type; 'validate' names it") from None
    return StoredRun(record, place, {}, unverified=f"only its row is there ({source})", seeds=seeds,
                     seed_shares=shares, sha256=sha256)  # fmt: skip


def name_of(row: Any, number: int) -> str:
    """What messages call a row: its number from 1, and its name where it has one."""
    name = row.get("label") or row.get("name") if isinstance(row, dict) else None
    return f"row {number} ({name[:80]})" if isinstance(name, str) else f"row {number}"


def _record(row: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON of a record without answers, replicates and command line."""
    config, use = row["config"], row["benchmark"]
    method = config["method"]
    same = ("role", "name", "benchmark", "model_info", "data", "sets", "judge", "gate", "verdict", "answer_states",
            "levels", "sequence", "training", "cost", "num_nonfinite")  # fmt: skip
    references = {"target": config["target_sha"], "retain": config["retain_sha"]}
    return {
        **{key: row[key] for key in same},
        "method": method and _method(config),
        "provenance": {**{key: row["provenance"][key] for key in SOURCE}, "command": []},
        "metrics": [_metric(one, use=use) for one in row["metrics"]],
        "headline": {name: _estimate(one) for name, one in row["headline"].items()},
        "references": {role: sha for role, sha in references.items() if sha is not None},
        "files": row["samples"],
        "replicates": {},
        "instances": [],
        "examples": [],
        "rescored": None,
        "schema_version": RECORD_VERSION,
    }


def _method(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": config["method"], "args": config["method_args"], "seed": config["seed"], "recipe": config["recipe"]}


def _metric(one: Mapping[str, Any], *, use: Mapping[str, Any]) -> dict[str, Any]:
    is_composite = one["task"] == composite_key(use["name"], one["set"])
    return {
        "name": one["metric"],
        "task": "" if is_composite else one["task"],
        **{key: one[key] for key in ("set", "profile", "kind", "attack")},
        "estimate": _estimate(one),
    }


def _estimate(one: Mapping[str, Any]) -> dict[str, Any]:
    return {key: one[key] for key in ESTIMATE}


def _seed(one: Mapping[str, Any], *, folder: Path) -> SeedRun:
    """Raises TypeError where the row says them in words."""
    seed, overall = one["seed"], one["overall"]
    if type(seed) is not int or not isinstance(overall, int | float | None):
        raise TypeError
    return SeedRun(seed, _place(one, folder=folder), overall, _sha256(one))


def _place(told: Mapping[str, Any], *, folder: Path) -> Path:
    """Where a record should lie. Raises TypeError where the row does not say so in words."""
    return Path(os.path.normpath(folder / os.fspath(told["record"])))


def _sha256(told: Mapping[str, Any]) -> str:
    found = told["sha256"]
    return found if isinstance(found, str) else UNKNOWN
