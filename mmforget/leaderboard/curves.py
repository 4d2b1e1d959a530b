"""What methods came to on the validation part while they were trained, as a picture and in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mmforget.leaderboard import words
from mmforget.leaderboard.board import Board, BoardRow

WIDTH, HEIGHT = 600.0, 120.0
"""Of the picture, in its own units."""
NAMES = ("forget", "utility")
MAX_POINTS = 1000
"""Points of a curve that are drawn."""


class Line(NamedTuple):
    """One number over the updates.

    Attributes:
        name: `forget` or `utility`.
        points: of a polyline in the picture, `x,y x,y ...`; 1 lies at the top.
        marks: of its points, where they lie.
    """

    name: str
    points: str
    marks: tuple[tuple[float, float], ...]


class Curve(NamedTuple):
    """A training.

    Attributes:
        label: the model's on the board.
        kept: where the step that is kept lies in the picture; None where it is the last.
        sentence: how it ended and which step is kept, in words.
        numbers: every point: update, forget, utility and balance.
    """

    label: str
    lines: tuple[Line, ...]
    kept: float | None
    sentence: str
    numbers: tuple[tuple[str, ...], ...]


def curves(board: Board) -> list[Curve]:
    """One for every model of a board that was looked at while it was trained; of several seeds, the first."""
    return [_curve(row, points) for row in board.rows if (points := _points(row.record.training.get("curve")))]


def _points(found: Any) -> list[dict[str, float | None]]:
    """The points of a record, as far as they are numbers: a record of a stranger may hold anything."""
    listed = found if isinstance(found, list | tuple) else ()
    points = [one for one in listed[:MAX_POINTS] if isinstance(one, Mapping) and _number(one.get("step")) is not None]
    return [{name: _number(one.get(name)) for name in ("step", *NAMES, "balance")} for one in points]


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def _curve(row: BoardRow, points: Sequence[Mapping[str, float | None]]) -> Curve:
    last = max((point["step"] or 0.0 for point in points), default=0.0) or 1.0
    kept = _number(row.record.training.get("kept_step"))
    return Curve(
        row.label,
        tuple(_line(name, points, last=last) for name in NAMES),
        None if kept is None else round(WIDTH * min(1.0, max(0.0, kept / last)), 1),
        _sentence(row, kept=kept),
        tuple(_cells(point) for point in points),
    )


def _line(name: str, points: Sequence[Mapping[str, float | None]], *, last: float) -> Line:
    places = tuple(_places(name, points, last=last))
    return Line(name, " ".join(f"{x},{y}" for x, y in places), places)


def _places(name: str, points: Sequence[Mapping[str, float | None]], *, last: float) -> Iterator[tuple[float, float]]:
    for point in points:
        step, value = point["step"], point[name]
        if step is not None and value is not None:
            share = min(1.0, max(0.0, step / last))
            yield round(WIDTH * share, 1), round(HEIGHT * (1 - min(1.0, max(0.0, value))), 1)


def _sentence(row: BoardRow, *, kept: float | None) -> str:
    training = row.record.training
    done, planned, stopped = (training.get(name) for name in ("num_steps", "num_planned", "stopped"))
    ended = f", ended by the rule {str(stopped)[:80]}" if stopped else ""
    args = row.record.method.args if row.record.method else {}
    why = f" ({str(args.get('training.keep', ''))[:40]})" if args.get("training.keep") else ""
    which = "the last is kept" if kept is None else f"what it was after update {kept:.0f} is kept{why}"
    seed = f"; of several seeds, seed {row.seeds[0].seed}" if len(row.seeds) > 1 else ""
    return f"{_whole(done)} of {_whole(planned)} updates{ended}; {which}{seed}."


def _cells(point: Mapping[str, float | None]) -> tuple[str, ...]:
    return (f"{point['step']:.0f}", *(words.number(point[name]) for name in (*NAMES, "balance")))


def _whole(value: Any) -> str:
    """A count of a record, whatever a stranger wrote there."""
    number = _number(value)
    return "unknown" if number is None else f"{number:.0f}"
