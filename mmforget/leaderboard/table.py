"""The console table: target and retain model with the room between them, then the methods by rank."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mmforget.leaderboard import words
from mmforget.leaderboard.attacks import AttackTable, attack_table
from mmforget.leaderboard.board import NOTHING, Board, BoardRow
from mmforget.leaderboard.sequences import SequenceTable, sequence_tables
from mmforget.leaderboard.tuning import best_of
from mmforget.types import Estimate

HEADERS = ("#", "model", "overall", "forget\nscore", "utility", "degene-\nrate", "recall", "verdict")
LEFT = ("model", "verdict")
WRAPPED = ("verdict",)


def render(board: Board) -> RenderableType:
    """A board for `rich.console.Console.print`. Meaning is never in colour alone."""
    table = Table(
        title=shown(title(board)),
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for header in HEADERS:
        table.add_column(
            header,
            justify="left" if header in LEFT else "right",
            no_wrap=header not in WRAPPED,
            overflow="fold",
            min_width=9 if header in WRAPPED else None,
        )
    for row in board.references:
        table.add_row(*_cells(row, board))
    if room(board) is not None:
        table.add_row("", Text("room", style="italic"), "", "", "", "", Text(words.number(room(board))), "")
    table.add_section()
    for row in (*board.ranked, *board.refused):
        table.add_row(*_cells(row, board), style="red" if row.collapsed else "dim" if row.rank is None else None)
    attacked = attack_table(board)
    sequences = [_sequence(one) for one in sequence_tables(board)]
    return Group(table, *_below(board), *([] if attacked is None else [_attacked(attacked)]), *sequences)


def _sequence(found: SequenceTable) -> Group:
    """Requests one after another: what is remembered of the rows of each after every one."""
    table = Table(
        title=shown(f"{found.label}, request by request"), title_justify="left", box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0), pad_edge=False,
    )  # fmt: skip
    table.add_column("model", no_wrap=True)
    for name in (*(re.sub("^request ", "re-\nquest ", one) for one in found.columns), "util-\nity", "dam-\nage"):
        parts = [shown(part) for part in re.split(r"[_ \n]+", name)]
        table.add_column(Text("\n").join(parts), justify="right", overflow="fold", min_width=6)
    for line in found.lines:
        table.add_row(line.label, *map(words.number, (*line.values, line.utility, line.damage)))
    table.add_section()
    table.add_row("came back (rebound)", *map(words.number, found.rebound))
    return Group(table, shown(found.sentence, style="dim"))


def _attacked(found: AttackTable) -> Table:
    """The table of attacks, without intervals and with broken names, so that nine columns fit an ordinary terminal."""
    table = Table(
        title=shown(f"{found.metric} · profile {found.profile}: share of answers that an attack finds"),
        title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False,
    )  # fmt: skip
    table.add_column("defence", no_wrap=True)
    for attack in found.attacks:
        parts = [shown(part) for part in re.split(r"[_ (),]+", attack) if part]
        table.add_column(Text("\n").join(parts), justify="right", overflow="fold", min_width=5)
    for line in found.lines:
        table.add_row(shown(line.label), *(words.number(rate.value) for rate in line.rates))
    return table


def render_all(boards: Sequence[Board]) -> RenderableType:
    """All boards, one below the other."""
    return Group(*(render(board) for board in boards))


def title(board: Board) -> str:
    use = board.benchmark
    modality = {"text": " · text only", "both": " · images and text"}.get(use.modality, "")
    asked = f" · asked with {use.asked}" if use.asked else ""
    number = f" · board {board.number} of this name" if board.number > 1 else ""
    return f"{use.title or use.name} · {use.setting}{modality} · profile {use.profile}{asked}{number}"


def shown(text: str, *, style: str = "") -> Text:
    """Text of a record, for a terminal: no markup is read in it, and no control character gets through."""
    return Text("".join(letter if letter.isprintable() else "\ufffd" for letter in text), style=style)


def recall(row: BoardRow, board: Board) -> Estimate:
    """How much of the forget set the model still gives back: whole answers, or else the gate's own metric."""
    metric = board.recall_metric
    return (row.record.metric(metric, set=row.forget_set) if metric else None) or NOTHING


def room(board: Board) -> float | None:
    """How far the target's recall lies above the retain model's: all that there is to forget."""
    target, retain = board.find("target"), board.find("retain")
    if target is None or retain is None:
        return None
    above, below = recall(target, board).value, recall(retain, board).value
    return None if above is None or below is None else above - below


def degenerate(row: BoardRow) -> Estimate:
    """Share of answers on the forget set that are empty, repeated or cut off."""
    return row.record.metric("degenerate", set=row.forget_set) or NOTHING


def _cells(row: BoardRow, board: Board) -> list[Text]:
    places = Text("" if row.is_reference else words.place(row))
    if words.place_range(row):
        places.append("\n" + words.place_range(row), style="dim")
    headline = [row.headline(name) for name in ("overall", "forget_score", "utility")]
    return [
        places,
        _named(row),
        *(_stacked(estimate) for estimate in headline),
        Text(words.number(degenerate(row).value)),
        _stacked(recall(row, board)),
        Text(words.ruling(row)),
    ]


def _named(row: BoardRow) -> Text:
    name = shown(row.label)
    if words.seeds(row):
        name.append("\n" + words.seeds(row).replace(", ", "\n"), style="dim")
    if best_of(row):
        name.append("\n" + best_of(row), style="dim")
    return name


def _stacked(estimate: Estimate) -> Text:
    """Value above its interval, so that eight columns fit an ordinary terminal."""
    text = Text(words.number(estimate.value))
    if words.interval(estimate):
        text.append("\n" + words.interval(estimate, short=True), style="dim")
    if estimate.constant and estimate.value not in (0.0, 1.0):
        text.append("\nconstant", style="italic")
    return text


def _below(board: Board) -> list[Text]:
    lines = [shown(words.gate_sentence(gate), style="" if gate.passed else "bold red") for gate in board.gates]
    lines += [shown(sentence) for sentence in (words.null_band_sentence(board),) if sentence]
    lines += [shown(words.board_sentence(board), style="bold")]
    lines += [shown(line) for line in words.decided(board)]
    lines += [shown(words.row_sentence(row), style="red") for row in board.ranked if row.collapsed]
    lines += [shown(words.row_sentence(row), style="yellow") for row in board.refused]
    working = [row for row in board.ranked if not row.collapsed]
    lines += [shown(f"{row.label}: {words.remarks(row)}") for row in working if row.eligibility.remarks]
    lines += [shown(sentence, style="dim") for sentence in (words.notes_sentence(board),) if sentence]
    lines += [shown(f"{row.label}: {words.place_note(row)}.") for row in board.ranked if words.place_note(row)]
    lines.append(
        Text(
            "Below each number: its 95 % interval, by subject and seed (unsure: none); below each place: those they "
            "allow, ? where nobody can tell; below each model: its seeds, and how much of the variance of its overall "
            "they are. "
            f"{words.intervals_sentence(board)} recall: {board.recall_metric or 'not measured'} on the "
            f"{board.forget_set} set; "
            "overall: harmonic mean of forget score and the share of the target's utility that is left.",
            style="dim",
        )
    )
    return lines
