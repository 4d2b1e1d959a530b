"""Every Eval Ever: one JSON a model, as its `eval.schema.json` of version 0.3.0 asks for.

Source: the schema of the package `every-eval-ever` 0.3.0. A number whose direction is nearness to the retain model is
left out, since the schema knows only lower and higher: what is made of it stands under `closeness/`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mmforget.leaderboard.board import Board, BoardRow
from mmforget.leaderboard.formats.base import Written, digest, model_of, placed, setup
from mmforget.leaderboard.rows import LEVEL, task_key
from mmforget.results.files import write_json
from mmforget.results.store import safe_name
from mmforget.types import Estimate

SCHEMA_VERSION = "0.3.0"
COLLECTION = "mmforget"
UNKNOWN = "unknown"


def write_every_eval_ever(boards: Sequence[Board], folder: Path, generated: str) -> Written:
    """`every_eval_ever/data/mmforget/<developer>/<model>/<uuid4>.json`, of every row with a number."""
    paths, num_left_out = [], 0
    for board, row, stem in placed(boards):
        found = _document(board, row, stem=stem, generated=generated)
        num_left_out += sum(one.value is not None and one.higher_is_better is None for one in _estimates(row))
        if found["evaluation_results"]:
            name = uuid.UUID(hex=digest(board.name, row.label, str(row.path), generated)[:32], version=4)
            path = folder / "every_eval_ever" / "data" / COLLECTION / safe_name(_developer(row)) / stem / f"{name}.json"
            paths.append(write_json(path, found))
    note = f"every_eval_ever: {num_left_out} numbers left out: near the retain model is better, which it cannot say"
    return Written(paths, [note] if num_left_out else [])


def _document(board: Board, row: BoardRow, *, stem: str, generated: str) -> dict[str, Any]:
    source = row.record.provenance
    time = str(int(datetime.fromisoformat(generated).replace(tzinfo=UTC).timestamp()))
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": f"{COLLECTION}/{stem}/{time}",
        "evaluation_timestamp": source.started,
        "retrieved_timestamp": time,
        "source_metadata": {
            "source_name": "mmforget leaderboard",
            "source_type": "evaluation_run",
            "source_organization_name": UNKNOWN,
            "evaluator_relationship": "other",
        },
        "eval_library": {
            "name": "mmforget",
            "version": source.version,
            "additional_details": {**_texts(source.packages), "commit": source.commit or UNKNOWN},
        },
        "model_info": _model(row),
        "evaluation_results": list(_results(board, row)),
    }


def _developer(row: BoardRow) -> str:
    developer, slash, _ = model_of(row).partition("/")
    return developer if slash else UNKNOWN


def _model(row: BoardRow) -> dict[str, Any]:
    record = row.record
    told = {
        "method": record.method.name if record.method else record.role,
        "setup": setup(row),
        "eligible": row.eligibility.eligible,
        **{key: record.model_info.get(key) for key in ("fingerprint", "dtype", "quantisation", "adapter_fingerprint")},
    }
    return {
        "name": row.label,
        "id": model_of(row),
        "developer": _developer(row),
        "additional_details": {"deployment_type": "self_deployed", "model_availability": UNKNOWN, **_texts(told)},
    }


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Details, of which every value is a text."""
    return {key: str(value) for key, value in values.items() if value is not None}


def _estimates(row: BoardRow) -> list[Estimate]:
    return [*row.record.headline.values(), *(one.estimate for one in row.record.metrics)]


def _results(board: Board, row: BoardRow) -> Iterator[dict[str, Any]]:
    record = row.record
    for name, estimate in record.headline.items():
        yield from _result(board, row, estimate, name=f"{board.name} {name}", metric=name, told={})
    for one in record.metrics:
        told = {"task": task_key(record, one), "set": one.set, "profile": one.profile, "attack": one.attack}
        name = " ".join(part for part in (task_key(record, one), one.name, one.profile, one.attack) if part)
        yield from _result(board, row, one.estimate, name=name, metric=one.name, told=told)


def _result(
    board: Board, row: BoardRow, estimate: Estimate, *, name: str, metric: str, told: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    if estimate.value is None or estimate.higher_is_better is None:
        return
    counts = {key: getattr(estimate, key) for key in ("num_unscored", "num_lacking", "num_subjects")}
    score: dict[str, Any] = {"score": estimate.value, "details": _texts({**told, **counts})}
    if estimate.low is not None and estimate.high is not None:
        over = "subjects and seeds" if row.seeds else "subjects"
        interval = {"lower": estimate.low, "upper": estimate.high, "confidence_level": LEVEL,
                    "method": f"delete-one jackknife over {over}"}  # fmt: skip
        score["uncertainty"] = {"confidence_interval": interval, "num_samples": estimate.num_scored}
    yield {
        "evaluation_result_id": digest(board.name, row.label, name)[:32],
        "evaluation_name": name,
        "source_data": _data(row),
        "evaluation_timestamp": row.record.provenance.started,
        "metric_config": {
            "metric_id": f"{COLLECTION}.{metric}",
            "metric_name": metric,
            "lower_is_better": not estimate.higher_is_better,
            "score_type": "continuous",
            "min_score": _bound(estimate.range[0]),
            "max_score": _bound(estimate.range[1]),
        },
        "score_details": score,
    }


def _bound(value: float) -> float | str:
    return {float("inf"): "Infinity", float("-inf"): "-Infinity"}.get(value, value)


def _data(row: BoardRow) -> dict[str, Any]:
    data, use = row.record.data, row.record.benchmark
    facts = _texts({"source": data.get("source"), "setting": use.setting, "commit": data.get("commit")})
    found = {"dataset_name": use.title or use.name, "source_type": "other", "additional_details": facts}
    repo = data.get("repo")
    return {**found, "source_type": "hf_dataset", "hf_repo": repo} if isinstance(repo, str) else found
