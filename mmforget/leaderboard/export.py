"""Leaderboard documents for other programs: `leaderboard.json` and a Markdown table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mmforget import __version__
from mmforget.leaderboard import table, words
from mmforget.leaderboard.attacks import attack_table
from mmforget.leaderboard.board import Board
from mmforget.leaderboard.rows import row_of, row_text
from mmforget.leaderboard.sequences import sequence_tables
from mmforget.leaderboard.tuning import best_of
from mmforget.results.codec import json_line, to_jsonable

SCHEMA_VERSION = 2
"""Of `leaderboard.json`. In version 1 rows had no sets, data, hashes of seeds, tuning budget or packages."""


def document(boards: Sequence[Board], *, folder: Path | None = None, generated: str | None = None) -> dict[str, Any]:
    """The content of `leaderboard.json`: every row of every board, ranked, reference or refused.

    Args:
        folder: where the document will lie; record paths are relative to it. The working folder unless given.
        generated: ISO 8601 time; now unless given.
    """
    place = folder or Path.cwd()
    rows = [to_jsonable(row_of(board, row, folder=place)).value for board in boards for row in board.rows]
    return {**_head(generated), "rows": rows}


def text(document: Mapping[str, Any]) -> str:
    """A document as JSON text with a row a line, so that it is written fast and lines of two can be compared."""
    return "".join(_text(document, map(json_line, document["rows"])))


def pieces(boards: Sequence[Board], *, folder: Path | None = None, generated: str | None = None) -> Iterator[str]:
    """`text(document(...))` in pieces, a row each, so that a long one is never whole in memory."""
    place = folder or Path.cwd()
    return _text(_head(generated), (row_text(board, row, folder=place) for board in boards for row in board.rows))


def _text(head: Mapping[str, Any], rows: Iterable[str]) -> Iterator[str]:
    started = json.dumps({key: value for key, value in head.items() if key != "rows"}, indent=2, allow_nan=False)
    yield f'{started.removesuffix("}").rstrip()},\n  "rows": [\n    '
    for number, row in enumerate(rows):
        yield (",\n    " if number else "") + row
    yield "\n  ]\n}\n"


def _head(generated: str | None) -> dict[str, Any]:
    now = generated or datetime.now(UTC).isoformat(timespec="seconds")
    return {"schema_version": SCHEMA_VERSION, "generated": now, "mmforget_version": __version__}


def markdown(boards: Sequence[Board]) -> str:
    """The ranking of every board as a Markdown table with the outcome in words above it."""
    return "\n\n".join(_markdown(board) for board in boards) + "\n"


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
    lines += [_escaped(f"- {row.label}: {words.place_note(row)}.") for row in board.ranked if words.place_note(row)]
    lines += ["", words.intervals_sentence(board)] if words.intervals_sentence(board) else []
    return "\n".join([*lines, *_attacked(board), *_sequences(board)])


def _attacked(board: Board) -> list[str]:
    """The table of attacks; nothing where there is none."""
    found = attack_table(board)
    if found is None:
        return []
    lines = ["", _escaped(f"{found.metric}, profile {found.profile}: share of answers that an attack finds"), ""]
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
