"""Leaderboard documents for other programs: `leaderboard.json` and a Markdown table.

A row follows the leaderboard template of the Hugging Face Hub (`config`, `results`: task to metric to number) and adds
what that cannot say: intervals, directions, ranges, eligibility with reasons, the verdict, and where the record lies.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mmforget import __version__
from mmforget.leaderboard import evidence, table, words
from mmforget.leaderboard.attacks import attack_table
from mmforget.leaderboard.board import Board, BoardRow
from mmforget.leaderboard.sequences import sequence_tables
from mmforget.leaderboard.tuning import best_of
from mmforget.results.codec import to_jsonable
from mmforget.results.fingerprint import hash_file
from mmforget.results.schema import MetricResult, RunRecord
from mmforget.results.store import SeedRun
from mmforget.types import Estimate

SCHEMA_VERSION = 1


def document(boards: Sequence[Board], *, folder: Path | None = None, generated: str | None = None) -> dict[str, Any]:
    """The content of `leaderboard.json`: every row of every board, ranked, reference or refused.

    Args:
        folder: where the document will lie; record paths are relative to it. The working folder unless given.
        generated: ISO 8601 time; now unless given.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "generated": generated or datetime.now(UTC).isoformat(timespec="seconds"),
        "mmforget_version": __version__,
        "rows": [_row(board, row, folder=folder or Path.cwd()) for board in boards for row in board.rows],
    }


def text(document: Mapping[str, Any]) -> str:
    """A document as JSON text with a row a line, so that it is written fast and lines of two can be compared."""
    head = json.dumps({key: value for key, value in document.items() if key != "rows"}, indent=2, allow_nan=False)
    rows = ",\n    ".join(json.dumps(row, ensure_ascii=False, allow_nan=False) for row in document["rows"])
    return f'{head.removesuffix("}").rstrip()},\n  "rows": [\n    {rows}\n  ]\n}}\n'


def markdown(boards: Sequence[Board]) -> str:
    """The ranking of every board as a Markdown table with the outcome in words above it."""
    return "\n\n".join(_markdown(board) for board in boards) + "\n"


def metric_key(result: MetricResult) -> str:
    """Flat name of a metric in `results`, e.g. `rouge_l_clean` or `rouge_l_clean_blank_image`."""
    return "_".join(part for part in (result.name, result.profile, result.attack) if part)


def task_key(record: RunRecord, result: MetricResult) -> str:
    """Task that a metric stands under in `results`; composites stand under benchmark and set."""
    return result.task or "_".join(part for part in (record.benchmark.name, result.set) if part)


def _row(board: Board, row: BoardRow, *, folder: Path) -> dict[str, Any]:
    record = row.record
    plain = {
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
        "results": _results(record),
        "seeds": [_seed(one, folder=folder) for one in row.seeds],
        "seed_shares": row.seed_shares,
        "headline": {name: _estimate(value) for name, value in record.headline.items()},
        "metrics": [_metric(record, result) for result in record.metrics],
        "answer_states": record.answer_states,
        "levels": record.levels,
        "sequence": record.sequence,
        "training": record.training,
        "cost": record.cost,
        "provenance": _provenance(row, folder=folder),
    }
    value: dict[str, Any] = to_jsonable(plain).value
    return value


def _seed(one: SeedRun, *, folder: Path) -> dict[str, Any]:
    """One of the trainings that a row stands for."""
    record = Path(os.path.relpath(one.path, folder)).as_posix()
    return {"seed": one.seed, "overall": one.overall, "record": record}


def _config(record: RunRecord) -> dict[str, Any]:
    info, method = record.model_info, record.method
    return {
        "model_name": f"{info.get('pretrained') or record.benchmark.name}:{record.name}",
        "model_sha": info.get("fingerprint"),
        "model_dtype": info.get("dtype"),
        "quantisation": info.get("quantisation"),
        "base_model": info.get("pretrained"),
        "method": method.name if method else None,
        "method_args": method.args if method else {},
        "seed": method.seed if method else record.provenance.seeds.get("training"),
        "forget_split": record.benchmark.setting,
        "target_sha": record.references.get("target"),
        "retain_sha": record.references.get("retain"),
    }


def _results(record: RunRecord) -> dict[str, dict[str, float]]:
    """Task to metric to number; what was not measured is left out, since the template knows only numbers."""
    results: dict[str, dict[str, float]] = defaultdict(dict)
    for name, estimate in record.headline.items():
        if estimate.value is not None:
            results[record.benchmark.group or record.benchmark.name][name] = estimate.value
    for result in record.metrics:
        if result.estimate.value is not None:
            results[task_key(record, result)][metric_key(result)] = result.estimate.value
    return dict(results)


def _metric(record: RunRecord, result: MetricResult) -> dict[str, Any]:
    place = {"task": task_key(record, result), "metric": result.name, "set": result.set, "profile": result.profile}
    return {**place, "attack": result.attack, **_estimate(result.estimate)}


def _estimate(estimate: Estimate) -> dict[str, Any]:
    """Value, interval, direction, range (null: unbounded), counts."""
    return {
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "higher_is_better": estimate.higher_is_better,
        "range": estimate.range,
        "num_scored": estimate.num_scored,
        "num_unscored": estimate.num_unscored,
        "num_lacking": estimate.num_lacking,
        "num_subjects": estimate.num_subjects,
        "constant": estimate.constant,
    }


def _provenance(row: BoardRow, *, folder: Path) -> dict[str, Any]:
    """Where the whole record lies, with its hash, and the few facts that tell two rows apart at a glance."""
    source = row.record.provenance
    here = row.path.is_file()
    return {
        "record": Path(os.path.relpath(row.path, folder)).as_posix(),
        "sha256": hash_file(row.path) if here else None,
        "version": source.version,
        "commit": source.commit,
        "dirty": source.dirty,
        "device": source.device,
        "started": source.started,
    }


def _markdown(board: Board) -> str:
    lines = [f"### {_escaped(table.title(board))}", "", _escaped(words.board_sentence(board)), ""]
    lines += ["| # | model | overall | forget score | utility | degenerate | recall | verdict |"]
    lines += ["|---:|:---|---:|---:|---:|---:|---:|:---|"]
    for row in board.rows:
        estimates = [row.headline(name) for name in ("overall", "forget_score", "utility")]
        estimates += [table.degenerate(row), table.recall(row, board)]
        places = [words.place(row), *([words.place_range(row)] if words.place_note(row) else [])]
        beside = ", ".join(filter(None, (words.seeds(row), best_of(row))))
        name = f"{row.label} ({beside})" if beside else row.label
        cells = ["" if row.is_reference else " ".join(places), _escaped(name)]
        cells += [words.measured(estimate) for estimate in estimates]
        lines.append("| " + " | ".join([*cells, words.ruling(row)]) + " |")
    lines += [""] + [_escaped(words.gate_sentence(gate)) for gate in board.gates]
    lines += ["", *(f"- {_escaped(line)}" for line in words.decided(board))]
    told = [*(row for row in board.ranked if row.collapsed), *board.refused]
    lines += [f"- {_escaped(words.row_sentence(row))}" for row in told]
    lines += [f"- {_escaped(row.label)}: {words.place_note(row)}." for row in board.ranked if words.place_note(row)]
    lines += ["", words.intervals_sentence(board)] if words.intervals_sentence(board) else []
    return "\n".join([*lines, *_attacked(board), *_sequences(board)])


def _attacked(board: Board) -> list[str]:
    """The table of attacks; nothing where there is none."""
    found = attack_table(board)
    if found is None:
        return []
    lines = ["", f"{_escaped(found.metric)}, profile {found.profile}: share of answers that an attack finds", ""]
    lines += [f"| defence | {' | '.join(map(_escaped, found.attacks))} |", "|:---|" + "---:|" * len(found.attacks)]
    for line in found.lines:
        lines.append(f"| {_escaped(line.label)} | {' | '.join(map(words.measured, line.rates))} |")
    return lines


def _sequences(board: Board) -> list[str]:
    """The tables of requests one after another; nothing where there are none."""
    lines = []
    for found in sequence_tables(board):
        lines += ["", f"{_escaped(found.label)}: {_escaped(found.sentence)}", ""]
        lines += [f"| model | {' | '.join(map(_escaped, found.columns))} | utility | damage |"]
        lines += ["|:---|" + "---:|" * (len(found.columns) + 2)]
        for line in found.lines:
            numbers = map(words.number, (*line.values, line.utility, line.damage))
            lines.append(f"| {line.label} | {' | '.join(numbers)} |")
        back = [*map(words.number, found.rebound), *[""] * (len(found.columns) - len(found.rebound) + 2)]
        lines.append(f"| came back (rebound) | {' | '.join(back)} |")
    return lines


def _escaped(text: str) -> str:
    """Text that cannot break out of a table cell, nor bring HTML, links or pictures: records come from strangers."""
    plain = " ".join(text.splitlines()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\|\[\]`])", r"\\\1", plain)
