"""The settings that were tried of each method before one was taken, and what each came to on the validation part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from mmforget.leaderboard import details, words
from mmforget.leaderboard.board import Board, BoardRow

MAX_TRIALS, MAX_TEXT = 200, 300
"""Of a row, what is shown."""


class TriedSetting(NamedTuple):
    """One trial, as text.

    Attributes:
        is_chosen: whether it is the one that the row's numbers are of.
        numbers: forget score, forget, utility.
        outcome: empty, or why it was no choice.
    """

    number: str
    settings: str
    numbers: tuple[str, ...]
    outcome: str
    is_chosen: bool


class Tuning(NamedTuple):
    """What was tried of a method, by which rule one was taken, of which grid and with which seed."""

    label: str
    sentence: str
    trials: tuple[TriedSetting, ...]


def tunings(board: Board) -> list[Tuning]:
    """One for every row of a board whose settings were chosen among several."""
    return [_tuning(row, told) for row in board.rows if (told := told_of(row))]


def told_of(row: BoardRow) -> Mapping[str, Any]:
    """What a record says of it; empty for nothing, or for what is no such thing: records come from strangers."""
    told = row.record.training.get("tuning")
    return told if isinstance(told, Mapping) and isinstance(told.get("trials"), list | tuple) else {}


def best_of(row: BoardRow) -> str:
    """How many settings were tried, for below a model's name; empty where none were."""
    num = len(told_of(row).get("trials", ()))
    budget = told_of(row).get("budget")
    fewer = f" (budget {budget})" if isinstance(budget, int) and budget != num else ""
    settings = "1 setting" if num == 1 else f"{num} settings"
    return f"best of {settings}{fewer}" if num else ""


def _tuning(row: BoardRow, told: Mapping[str, Any]) -> Tuning:
    listed = [one for one in told["trials"][:MAX_TRIALS] if isinstance(one, Mapping)]
    whose = "its own grid" if told.get("is_own_grid") is True else "the usual grid"
    sentence = f"{_text(told.get('rule'))}; {whose}, tried with seed {_text(told.get('seed'))} for all."
    return Tuning(row.label, sentence, tuple(_tried(one, chosen=told.get("chosen")) for one in listed))


def _tried(one: Mapping[str, Any], *, chosen: Any) -> TriedSetting:
    reasons = one.get("reasons")
    why = f": {_text(reasons)}" if reasons else ""
    return TriedSetting(
        number=_text(one.get("number")),
        settings=_text(one.get("settings")),
        numbers=tuple(words.number(_number(one.get(name))) for name in ("forget_score", "forget", "utility")),
        outcome=f"collapsed{why}"[:MAX_TEXT] if one.get("collapses") is True else "",
        is_chosen=one.get("number") == chosen,
    )


def _text(value: Any) -> str:
    return details.text(value)[:MAX_TEXT]


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None
