"""What goes into model repositories of the Hugging Face Hub, through `huggingface_hub`'s own classes.

`.eval_results/*.yaml` has one number a task and no direction, so each headline number has a task of its own and `notes`
say the rest; it belongs to a data set of the Hub. `model-index` is the older form, in the head of a model card.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mmforget.leaderboard.board import Board, BoardRow
from mmforget.leaderboard.formats.base import HEADLINE, Written, interval_words, model_of, placed, setup
from mmforget.results.files import write_text
from mmforget.results.store import safe_name

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, EvalResultEntry

FOLDER = "hub"
TASK_TYPE = {"image": "image-text-to-text", "both": "image-text-to-text", "text": "text-generation"}


def write_eval_results(boards: Sequence[Board], folder: Path, generated: str) -> Written:
    """`hub/<model>/.eval_results/<board>.yaml` of every ranked row on data of the Hub."""
    from huggingface_hub import eval_result_entries_to_yaml

    paths, left_out = [], {"not ranked": 0, "not on data of the Hub": 0}
    for board, row, stem in placed(boards):
        if row.rank is None:
            left_out["not ranked"] += 1
        elif not _repo(row):
            left_out["not on data of the Hub"] += 1
        else:
            plain = eval_result_entries_to_yaml(_entries(board, row))
            path = folder / FOLDER / stem / ".eval_results" / f"{safe_name(board.name)}.yaml"
            paths.append(write_text(path, yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)))
    notes = [f"eval_results: {num} rows left out: {why}" for why, num in left_out.items() if num]
    return Written(paths, notes)


def write_model_index(boards: Sequence[Board], folder: Path, generated: str) -> Written:
    """`hub/<model>/README.md`: the head of a model card with `model-index`, of every model but the references."""
    from huggingface_hub import ModelCardData

    paths = []
    for board, row, stem in placed(boards):
        if row.is_reference:
            continue
        found = _results(board, row)
        if found:
            data = ModelCardData(model_name=row.label, tags=["machine-unlearning"], eval_results=found)
            text = f"---\n{data.to_yaml()}\n---\n"
            paths.append(write_text(folder / FOLDER / stem / "README.md", text))
    return Written(paths, [])


def _repo(row: BoardRow) -> str:
    """The data set on the Hub that the rows came from; empty for other data."""
    repo = row.record.data.get("repo")
    return repo if isinstance(repo, str) and row.record.data.get("source") == "hub" else ""


def _revision(row: BoardRow) -> str | None:
    commit = row.record.data.get("commit")
    return commit if isinstance(commit, str) else None


def _entries(board: Board, row: BoardRow) -> list[EvalResultEntry]:
    from huggingface_hub import EvalResultEntry

    return [
        EvalResultEntry(
            dataset_id=_repo(row),
            task_id=f"{safe_name(board.name)}_{name}",
            value=estimate.value,
            dataset_revision=_revision(row),
            date=row.record.provenance.started,
            notes=f"{setup(row)}; {interval_words(estimate)}",
        )
        for name in HEADLINE
        if (estimate := row.headline(name)).value is not None
    ]


def _results(board: Board, row: BoardRow) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    use = row.record.benchmark
    return [
        EvalResult(
            task_type=TASK_TYPE.get(use.modality, "text-generation"),
            task_name=f"Machine unlearning of {use.title or use.name}",
            dataset_type=_repo(row) or use.name,
            dataset_name=use.title or use.name,
            dataset_config=use.setting or None,
            dataset_revision=_revision(row),
            metric_type=name,
            metric_name=f"{name.replace('_', ' ')} ({setup(row)})",
            metric_value=estimate.value,
            metric_config=use.profile,
            metric_args=_told(row, name),
        )
        for name in HEADLINE
        if (estimate := row.headline(name)).value is not None
    ]


def _told(row: BoardRow, name: str) -> dict[str, Any]:
    """What a model index has no words for."""
    estimate = row.headline(name)
    return {
        "low": estimate.low,
        "high": estimate.high,
        "higher_is_better": estimate.higher_is_better,
        "num_scored": estimate.num_scored,
        "num_unscored": estimate.num_unscored,
        "base_model": model_of(row),
        "eligible": row.eligibility.eligible,
        "reasons": list(row.eligibility.reasons),
    }
