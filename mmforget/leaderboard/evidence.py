"""What verdicts rest on, for the page: a line an attack, a column a model, and what none of it shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mmforget.leaderboard.board import Board, BoardRow
from mmforget.results.answer_states import AnswerStates, StateCounts
from mmforget.results.deciding import ACCESS, MAX_LEFT
from mmforget.results.evidence import Evidence, Outcome

OUTCOME: dict[Outcome, str] = {
    "found": "comes back",
    "ruled_out": "nothing",
    "open": "cannot tell",
    "blind": "tells nothing",
}
UNTRIED = {
    "black_box": "what other questions than the benchmark's own get back: none was asked that tells anything",
    "hidden": "what can be read from hidden states: nothing looked inside the models that tells anything",
    "weights": "what comes back once weights change, as by relearning: none was changed in a way that tells anything",
}
"""By access, what nobody knows where no attack of it tells anything."""
NEVER = (
    "what other attacks, or these with a larger budget, would find",
    "whether it can be told that the rows were trained on: no verdict reads what membership metrics say",
    "what else is known of the same subjects: only rows of the benchmark were asked about",
)
"""What no run shows."""
ONE_RETAIN = "how much another retain model would have found: one is the rate that everything is compared with"


class EvidenceLine(NamedTuple):
    """One attack, or the plain questions, on one task.

    Attributes:
        task: empty where there is one alone.
        access: in words.
        target, retain: what it finds there.
        cells: by model, its line of evidence; None where it was not made.
        answers: how many of the target's, the retain model's and each model's were right, wrong, a refusal or
            gibberish; None where there are none.
    """

    name: str
    task: str
    access: str
    target: float | None
    retain: float | None
    cells: tuple[Evidence | None, ...]
    answers: tuple[StateCounts | None, ...]


class EvidenceTable(NamedTuple):
    """The evidence of all rows of a board that have any."""

    models: tuple[str, ...]
    lines: tuple[EvidenceLine, ...]


def evidence_table(board: Board) -> EvidenceTable:
    """The table of a board; without lines where nothing was compared."""
    rows = [row for row in (*board.ranked, *board.refused) if _lines(row)]
    tables = [{line.key: line for line in _lines(row)} for row in rows]
    firsts = {key: line for table in reversed(tables) for key, line in table.items()}
    num_tasks = len({line.task for line in firsts.values()})
    states = [{line.key: line for line in row.record.answer_states} for row in rows]
    lines = [
        EvidenceLine(
            first.name, first.task if num_tasks > 1 else "", ACCESS.get(first.access, first.access),
            first.target, first.retain, tuple(table.get(key) for table in tables),
            _answers([own.get((first.task, first.attack)) for own in states]),
        )
        for key, first in firsts.items()
    ]  # fmt: skip
    return EvidenceTable(tuple(row.label for row in rows), tuple(lines))


def _answers(lines: Sequence[AnswerStates | None]) -> tuple[StateCounts | None, ...]:
    first = next(filter(None, lines), None)
    beside = (None, None) if first is None else (first.target, first.retain)
    return (*beside, *(None if line is None else line.own for line in lines))


def accesses(row: BoardRow) -> list[str]:
    """What the attacks that tell anything of a row need of the model, from least to most."""
    found = {line.access for line in _telling(row)}
    return [access for access in ACCESS if access in found]


def not_shown(rows: Sequence[BoardRow], *, has_null_band: bool = False) -> list[str]:
    """What the run does not show of any of the rows, in words.

    Args:
        has_null_band: whether there are further retain models to compare with.
    """
    tried = {line.access for row in rows for line in _telling(row)}
    told = [text for access, text in UNTRIED.items() if access not in tried]
    blind = dict.fromkeys(one.name for row in rows for one in _lines(row) if one.outcome == "blind")
    if blind:
        names = ", ".join(blind)
        told.append(f"what comes back by {names}: that finds no more in the target than in the retain model here")
    if any(line.outcome == "ruled_out" for row in rows for line in _lines(row)):
        told.append(f"whether nothing comes back, or up to {MAX_LEFT:.0%} of what an attack finds in the target")
    return [*told, *NEVER, *(() if has_null_band else (ONE_RETAIN,))]


def _lines(row: BoardRow) -> Sequence[Evidence]:
    return () if row.record.verdict is None else row.record.verdict.evidence


def _telling(row: BoardRow) -> list[Evidence]:
    return [line for line in _lines(row) if line.attack is not None and line.outcome != "blind"]
