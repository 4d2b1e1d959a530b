"""CSV for spreadsheets and data frames, and LaTeX for papers."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmforget.leaderboard import evidence, table, words
from mmforget.leaderboard.board import Board, BoardRow
from mmforget.leaderboard.formats.base import HEADLINE, Written, finite, placed
from mmforget.leaderboard.rows import sha256_of, task_key
from mmforget.leaderboard.tuning import told_of
from mmforget.results.files import write_text
from mmforget.types import Estimate

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell of text begins with that a spreadsheet would compute."""
NUMBERS = ("value", "low", "high", "higher_is_better", "least", "most", "num_scored", "num_unscored", "num_lacking",
           "num_subjects")  # fmt: skip
SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}",
}  # fmt: skip


def write_csv(boards: Sequence[Board], folder: Path, generated: str) -> Written:
    """`leaderboard.csv`, a line a model, and `metrics.csv`, a line a number. A cell of text is never a formula."""
    models = [_model(board, row) for board, row, _ in placed(boards)]
    metrics = [line for board, row, _ in placed(boards) for line in _metrics(board, row)]
    paths = [
        write_text(folder / name, _csv(lines))
        for name, lines in {"leaderboard.csv": models, "metrics.csv": metrics}.items()
    ]
    return Written(paths, [])


def write_latex(boards: Sequence[Board], folder: Path, generated: str) -> Written:
    """`leaderboard.tex`: a table a board, for `\\input` with the package booktabs."""
    text = f"% mmforget leaderboard, {_latex(generated)}; needs \\usepackage{{booktabs}}\n"
    return Written([write_text(folder / "leaderboard.tex", text + "\n".join(map(_tabular, boards)))], [])


def _csv(lines: Sequence[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(lines[0] if lines else ())
    writer.writerows([_cell(value) for value in line.values()] for line in lines)
    return out.getvalue()


def _cell(value: Any) -> Any:
    """A cell; text that a spreadsheet would take for a formula is quoted as it asks for."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return value
    plain = " ".join(value.splitlines())
    return f"'{plain}" if plain.startswith(FORMULA) else plain


def _model(board: Board, row: BoardRow) -> dict[str, Any]:
    record = row.record
    least, most = row.rank_range or (None, None)
    use, method, verdict = record.benchmark, record.method, record.verdict
    numbers = {
        key if name == "value" else f"{key}_{name}": value
        for key in HEADLINE
        for name, value in _numbers(row.headline(key)).items()
        if name in ("value", "low", "high", "num_scored", "num_unscored")
    }
    return {
        "board": board.name, "benchmark": use.name, "setting": use.setting, "modality": use.modality,
        "profile": use.profile, "role": record.role, "model": row.label, "method": method.name if method else "",
        "base_model": record.model_info.get("pretrained"), "model_sha": record.model_info.get("fingerprint"),
        "rank": row.rank, "rank_least": least, "rank_most": most,
        "eligible": row.eligibility.eligible and not row.is_reference, "reasons": "; ".join(row.eligibility.reasons),
        "verdict": verdict.status if verdict else "", "access": " ".join(evidence.accesses(row)),
        **numbers,
        "num_seeds": len(row.seeds) or 1, "num_trials": told_of(row).get("num_trials"),
        "training_s": record.training.get("wall_s"), "evaluation_s": record.cost.wall_s,
        "peak_memory_bytes": record.training.get("peak_memory_bytes"), "record_sha256": sha256_of(row),
    }  # fmt: skip


def _metrics(board: Board, row: BoardRow) -> Iterable[dict[str, Any]]:
    record = row.record
    place = {"board": board.name, "model": row.label}
    for name, estimate in record.headline.items():
        yield {**place, "task": "", "metric": name, "set": "", "profile": "", "attack": "", **_numbers(estimate)}
    for one in record.metrics:
        told = {"task": task_key(record, one), "metric": one.name, "set": one.set, "profile": one.profile}
        yield {**place, **told, "attack": one.attack or "", **_numbers(one.estimate)}


def _numbers(estimate: Estimate) -> dict[str, Any]:
    least, most = map(finite, estimate.range)
    found = {"least": least, "most": most, **vars(estimate)}
    return {name: found[name] for name in NUMBERS}


def _tabular(board: Board) -> str:
    lines = [r"\begin{table}", r"\caption{" + _latex(table.title(board)) + "}", r"\begin{tabular}{rlrrrl}", r"\toprule"]
    lines += [r"\# & model & overall & forget score & utility & verdict \\", r"\midrule"]
    lines += [_line(row) for row in board.references]
    lines += [r"\midrule", *(_line(row) for row in (*board.ranked, *board.refused))]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def _line(row: BoardRow) -> str:
    numbers = [_measured(row.headline(name)) for name in ("overall", "forget_score", "utility")]
    place = "" if row.rank is None else str(row.rank)
    return " & ".join([place, _latex(row.label), *numbers, _latex(words.ruling(row))]) + r" \\"


def _measured(estimate: Estimate) -> str:
    if estimate.value is None:
        return "--"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} {{\\scriptsize [{estimate.low:.3f}, {estimate.high:.3f}]}}"


def _latex(text: str) -> str:
    """Text that LaTeX sets as it stands: no command of a stranger is run."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return re.sub(r'[\\{}$&#%_^~<>|"]', lambda found: SPECIAL[found[0]], plain)
