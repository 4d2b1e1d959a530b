"""How many answers of every model were right, wrong, a refusal or gibberish, for the page."""

from __future__ import annotations

from typing import NamedTuple

from mmforget.leaderboard.board import Board
from mmforget.results.answer_states import STATES, State, StateCounts


class StateLine(NamedTuple):
    """The answers of all models to one task, plain or under one attack; None where a model was not asked that."""

    task: str
    attack: str | None
    cells: tuple[StateCounts | None, ...]


class Share(NamedTuple):
    """A part of a bar 100 wide."""

    state: State
    x: float
    width: float


def state_lines(board: Board) -> list[StateLine]:
    """A line a task and attack, a cell a row of the board."""
    tables = [{line.key: line.own for line in row.record.answer_states} for row in board.rows]
    keys = dict.fromkeys(key for table in tables for key in table)
    return [StateLine(*key, tuple(table.get(key) for table in tables)) for key in keys]


def shares(counts: StateCounts) -> list[Share]:
    """The bar of a model, in the order of `STATES`, without what is empty."""
    found, x = [], 0.0
    for state in STATES:
        width = 100.0 * getattr(counts, state) / max(1, counts.num_answered)
        if width:
            found.append(Share(state, round(x, 2), round(width, 2)))
        x += width
    return found
