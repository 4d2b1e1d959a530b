"""Requests one after another, laid out for people: a line a model, a column the rows of a request or of a set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from mmforget.leaderboard import words
from mmforget.leaderboard.board import Board
from mmforget.results.schema import RunRecord
from mmforget.results.sequence import SequenceCell, SequenceResult

BETWEEN = {
    "merged": "each request's adapter is merged into the weights before the next",
    "stacked": "each request's adapter stays, and the next is trained upon it",
    "weights": "each request changes the weights themselves",
}
MAX_REQUESTS = 12
"""Columns of requests that are shown; the record has all."""


class SequenceLine(NamedTuple):
    """A model, what it remembers in the order of the columns, its utility, and what the request cost."""

    label: str
    values: tuple[float | None, ...]
    utility: float | None
    damage: float | None


class SequenceTable(NamedTuple):
    """One sequence of requests.

    Attributes:
        label: the model's on the board.
        sentence: what the numbers are, and what they come to.
        columns: whose rows: of `request 1`, ..., then of the sets that no request is about.
        rebound: by request, how much came back; in the order of the first columns.
    """

    label: str
    sentence: str
    columns: tuple[str, ...]
    lines: tuple[SequenceLine, ...]
    rebound: tuple[float | None, ...]


def sequence_tables(board: Board) -> list[SequenceTable]:
    """One for every model of a board that forgot in requests."""
    return [_table(row.label, row.record.sequence) for row in board.rows if row.record.sequence is not None]


def _table(label: str, found: SequenceResult) -> SequenceTable:
    shown = found.requests[:MAX_REQUESTS]
    others = list(dict.fromkeys(one.set for one in found.cells if one.request is None and found.metric in one.values))
    cells = {(one.after, one.set): one for one in found.cells if one.request is None}
    lines = [
        SequenceLine(
            "before" if after == 0 else f"after request {after}",
            (*recall[:MAX_REQUESTS], *(_value(cells.get((after, name)), found.metric) for name in others)),
            utility,
            found.requests[after - 1].damage if 0 < after <= len(found.requests) else None,
        )
        for after, (recall, utility) in enumerate(zip(found.recall, found.utility, strict=False))
    ]
    return SequenceTable(
        label,
        _sentence(found),
        (*(f"request {one.number}" for one in shown), *others),
        tuple(lines),
        tuple(one.rebound for one in shown),
    )


def _value(cell: SequenceCell | None, metric: str) -> float | None:
    return None if cell is None else cell.values.get(metric)


def _sentence(found: SequenceResult) -> str:
    num = len(found.requests)
    rebound = "" if found.rebound is None else f"; on average {words.number(found.rebound)} comes back later (rebound)"
    damage = "" if found.damage is None else f"; utility lost in all (damage): {words.number(found.damage)}"
    return (
        f"{num} {'request' if num == 1 else 'requests'}, one after another, and {BETWEEN[found.between]}: "
        f"{found.metric} on the rows of each request in the {found.set} set and on other sets after every request"
        f"{rebound}{damage}."
    )


def joint_sequence(records: Sequence[RunRecord]) -> SequenceResult | None:
    """Sequences over several seeds as one, every number the mean over them; None where one has none or another's shape.

    A number that one of them lacks has no mean. What each request's training took is in the records alone.
    """
    several = [record.sequence for record in records if record.sequence is not None]
    if len(several) < len(records) or len({_shape(one) for one in several}) != 1:
        return None
    first = several[0]
    requests = tuple(
        replace(
            one,
            rebound=_mean([other.requests[at].rebound for other in several]),
            damage=_mean([other.requests[at].damage for other in several]),
            cumulative_damage=_mean([other.requests[at].cumulative_damage for other in several]),
            training={},
            files={},
        )
        for at, one in enumerate(first.requests)
    )
    return replace(
        first,
        requests=requests,
        cells=tuple(_joint_cell(cells) for cells in zip(*(one.cells for one in several), strict=True)),
        recall=tuple(
            tuple(_mean([one.recall[row][column] for one in several]) for column in range(len(first.recall[row])))
            for row in range(len(first.recall))
        ),
        utility=tuple(_mean([one.utility[at] for one in several]) for at in range(len(first.utility))),
        rebound=_mean([one.rebound for one in several]),
        damage=_mean([one.damage for one in several]),
    )


def _shape(found: SequenceResult) -> tuple[object, ...]:
    cells = tuple((one.after, one.set, one.request, one.num, *one.values) for one in found.cells)
    rows = tuple(map(len, found.recall))
    return (found.between, found.metric, tuple(one.subjects for one in found.requests), cells, rows, len(found.utility))


def _joint_cell(cells: Sequence[SequenceCell]) -> SequenceCell:
    return replace(cells[0], values={name: _mean([one.values[name] for one in cells]) for name in cells[0].values})


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
