"""Defences by attacks, as UnLOK-VQA lays them out: a line a model, a column an attack, success rates in the cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mmforget.leaderboard.board import NOTHING, Board, BoardRow
from mmforget.types import Estimate

METRIC = "attack_success"
PLAIN = "no attack"
BEFORE = {"target": "before", "retain": "never knew"}
"""What the references' lines are called: the base rates of what an attack finds."""
NOT_OF_THE_SUITE = "blank_image"


class AttackLine(NamedTuple):
    """A model's name, and the success rate of every attack, in the order of the columns."""

    label: str
    rates: tuple[Estimate, ...]


class AttackTable(NamedTuple):
    """Success rates of a board's models under attacks.

    Attributes:
        metric: with its arguments.
        profile: of the metric.
        attacks: what the columns are called; the plain question first.
    """

    metric: str
    profile: str
    attacks: tuple[str, ...]
    lines: tuple[AttackLine, ...]


def attack_table(board: Board) -> AttackTable | None:
    """The table of a board in its profile, or the nearest that was measured; None where nothing was attacked."""
    found = [result for row in board.rows for result in row.record.metrics if _is_rate(result.name, row, result.set)]
    if not any(result.attack not in (None, NOT_OF_THE_SUITE) for result in found):
        return None
    metric = found[0].name
    profiles = list(dict.fromkeys(result.profile for result in found if result.name == metric))
    profile = board.benchmark.profile if board.benchmark.profile in profiles else profiles[-1]
    named = dict.fromkeys(one.attack for one in found if one.attack is not None and one.name == metric)
    attacks: list[str | None] = [None, *named]
    lines = [
        AttackLine(BEFORE.get(row.record.role, row.label), _rates(row, metric, profile=profile, attacks=attacks))
        for row in board.rows
    ]
    return AttackTable(metric, profile, (PLAIN, *named), tuple(lines))


def _is_rate(name: str, row: BoardRow, set_name: str) -> bool:
    return name.partition("(")[0] == METRIC and set_name == row.forget_set


def _rates(row: BoardRow, metric: str, *, profile: str, attacks: Sequence[str | None]) -> tuple[Estimate, ...]:
    found = (row.record.metric(metric, set=row.forget_set, profile=profile, attack=attack) for attack in attacks)
    return tuple(estimate or NOTHING for estimate in found)
