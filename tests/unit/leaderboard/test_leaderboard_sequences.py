"""Requests one after another and curves of trainings, as people see them: console, Markdown, page, over seeds too."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from fake_runs import record, stored
from rich.console import Console

from mmforget.leaderboard import export, page
from mmforget.leaderboard.board import Board, boards
from mmforget.leaderboard.curves import curves
from mmforget.leaderboard.over_seeds import join_seeds
from mmforget.leaderboard.sequences import sequence_tables
from mmforget.leaderboard.table import render_all
from mmforget.results.consistency import contradictions
from mmforget.results.schema import MethodUse, RunRecord
from mmforget.results.sequence import RequestResult, SequenceCell, SequenceResult

pytestmark = pytest.mark.slow

CURVE = [
    {"step": 0, "forget": 0.9, "utility": 0.8, "balance": 0.0},
    {"step": 10, "forget": 0.3, "utility": 0.7, "balance": 0.75},
    {"step": 20, "forget": 0.1, "utility": None, "balance": None},
]


def sequence(*, back: float = 0.25) -> SequenceResult:
    """Two requests: .1 of the first is left, to which `back` comes back after the second."""
    cells = tuple(SequenceCell(after, "retain5", None, 4, {"rouge_l": 0.9 - after / 10}) for after in range(3))
    return SequenceResult(
        "stacked",
        "rouge_l",
        "forget",
        (RequestResult(1, ("Ann",), 7, back, 0.25, 0.25), RequestResult(2, ("Bob",), 7, None, 0.25, 0.5)),
        cells,
        ((0.9, 0.9), (0.1, 0.8), (0.1 + back, 0.05)),
        (1.0, 0.75, 0.5),
        back,
        0.5,
    )


def forgot(seed: int = 0, *, back: float = 0.25, **changes: Any) -> RunRecord:
    method = MethodUse("npo", {"requests": 2, "training.seed": seed}, seed, "micro")
    found = record("npo, 2 requests", method=method, sequence=sequence(back=back), **changes)
    return replace(found, model_info={**found.model_info, "fingerprint": f"npo-{seed}"})


def board_of(*records: RunRecord) -> Board:
    (board,) = boards(join_seeds(stored([record("target", role="target"), *records])))
    return board


def texts(board: Board) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=120).print(render_all([board]))
    return [out.getvalue(), export.markdown([board]), page.render([board])]


def test_a_line_a_model_and_a_column_a_request() -> None:
    (table,) = sequence_tables(board_of(forgot()))
    assert table.columns == ("request 1", "request 2", "retain5")
    assert [line.label for line in table.lines] == ["before", "after request 1", "after request 2"]
    assert [line.values for line in table.lines] == [(0.9, 0.9, 0.9), (0.1, 0.8, 0.8), (0.35, 0.05, 0.7)]
    assert [(line.utility, line.damage) for line in table.lines] == [(1.0, None), (0.75, 0.25), (0.5, 0.25)]
    assert table.rebound == (0.25, None)


def test_everybody_sees_it_in_words() -> None:
    for text in texts(board_of(forgot())):
        plain = " ".join(text.split())
        assert "after request 2" in plain
        assert "came back (rebound)" in plain
        assert "each request's adapter stays" in plain.replace("&#39;", "'")
        assert "0.350" in plain
        assert "utility lost in all (damage): 0.500" in plain


def test_without_requests_there_is_no_table() -> None:
    board = board_of(record("npo"))
    assert sequence_tables(board) == []
    assert all("rebound" not in text for text in texts(board))


def test_over_seeds_every_number_is_the_mean() -> None:
    (table,) = sequence_tables(board_of(forgot(0, back=0.25), forgot(1, back=0.75)))
    assert table.rebound == (0.5, None)
    assert table.lines[2].values[0] == pytest.approx(0.6)


def test_rebound_and_damage_are_what_the_tables_give() -> None:
    found = sequence()
    assert [line for line in contradictions(record("npo", sequence=found)) if "sequence" in line] == []
    edited = {
        "recall": replace(found, recall=found.recall[:2]),
        "numbers": replace(found, requests=found.requests[::-1]),
        "rebound": replace(found, rebound=0.0),
        "damage": replace(found, utility=(1.0, 0.75, 0.75)),
    }
    for name, one in edited.items():
        assert any(line.startswith("sequence: ") for line in contradictions(record("npo", sequence=one))), name


def test_a_curve_is_drawn_with_the_step_that_is_kept() -> None:
    training = {"curve": CURVE, "kept_step": 10, "num_steps": 20, "num_planned": 40, "stopped": "forget<0.2"}
    board = board_of(record("npo", training=training))
    (curve,) = curves(board)
    assert curve.kept == 300.0
    assert curve.sentence.startswith(
        "20 of 40 updates, ended by the rule forget<0.2; what it was after update 10 is kept"
    )
    forget, utility = curve.lines
    assert forget.points == "0.0,12.0 300.0,84.0 600.0,108.0"
    assert len(utility.marks) == 2, "what is not known is not drawn"
    assert curve.numbers[2] == ("20", "0.100", "–", "–")
    text = page.render([board])
    assert 'points="0.0,12.0 300.0,84.0 600.0,108.0"' in text
    assert "forget&lt;0.2" in text


@pytest.mark.parametrize(
    "curve", [None, "many", [1, 2], [{"step": "<q>"}], [{"step": 1, "forget": "<script>", "utility": float("nan")}]]
)
def test_a_strangers_curve_breaks_nothing(curve: Any) -> None:
    board = board_of(record("npo", training={"curve": curve, "kept_step": "x", "stopped": "<q>"}))
    assert "<q>" not in page.render([board])
