"""The table of defences by attacks: in whose lines and columns which rate stands, on the console and in Markdown."""

from __future__ import annotations

import io
from dataclasses import replace

from fake_runs import metrics, rate, record, stored
from rich.console import Console

from mmforget.leaderboard import export
from mmforget.leaderboard.attacks import attack_table
from mmforget.leaderboard.board import boards
from mmforget.leaderboard.table import render_all
from mmforget.results.schema import MetricResult, RunRecord

ATTACKS = ("logit_lens", "question_rephrase(level=hard)")
RATES = {"target": (0.9, 0.8, 0.7), "head_projection": (0.1, 0.2, 0.3), "max_entropy": (0.4, 0.5, None)}


def attacked(name: str, *, role: str = "unlearned", metric: str = "attack_success") -> RunRecord:
    found = [
        MetricResult(metric, "forget", profile, rate(value if profile == "clean" else 0.01), "t", "gen", attack)
        for profile in ("released", "clean")
        for attack, value in zip((None, *ATTACKS), RATES[name], strict=True)
        if value is not None
    ]
    return record(name, role=role, metrics=(*metrics(recall=0.1, utility=0.9, degenerate=0.0), *found))


RUNS = [attacked("target", role="target"), attacked("max_entropy"), attacked("head_projection")]


def test_lines_are_models_and_columns_attacks() -> None:
    """The model before comes first, its plain question in the first column; what was not measured is no zero."""
    (board,) = boards(stored(RUNS))
    table = attack_table(board)
    assert table is not None
    assert (table.metric, table.profile) == ("attack_success", "clean")
    assert table.attacks == ("no attack", *ATTACKS)
    found = {line.label: tuple(estimate.value for estimate in line.rates) for line in table.lines}
    assert table.lines[0].label == "before"
    assert found == {"before": RATES["target"]} | {name: RATES[name] for name in RATES if name != "target"}


def test_without_attacks_there_is_no_table() -> None:
    """Grey pictures alone are a control, and other metrics under an attack are in the record."""
    (board,) = boards(stored([record("target", role="target"), record("npo")]))
    assert attack_table(board) is None
    blank = MetricResult("attack_success", "forget", "clean", rate(0.1), "t", "gen", "blank_image")
    one = record("npo")
    (board,) = boards(stored([replace(one, metrics=(*one.metrics, blank))]))
    assert attack_table(board) is None


def test_a_metric_with_arguments_is_named_with_them() -> None:
    (board,) = boards(stored([attacked("max_entropy", metric="attack_success(budget=4)")]))
    table = attack_table(board)
    assert table is not None
    assert table.metric == "attack_success(budget=4)"
    assert [estimate.value for estimate in table.lines[0].rates] == [0.4, 0.5]


def test_console_and_markdown_show_it() -> None:
    stream = io.StringIO()
    Console(file=stream, width=100, color_system=None).print(render_all(boards(stored(RUNS))))
    text = stream.getvalue()
    lines = [line.split() for line in text[text.index("an attack finds") :].splitlines()]
    assert ["before", "0.900", "0.800", "0.700"] in lines
    assert ["max_entropy", "0.400", "0.500", "–"] in lines
    assert ["no", "logit", "rephrase"] in lines
    assert "\ufffd" not in text
    assert max(len(line) for line in text.splitlines()) <= 100
    written = export.markdown(boards(stored(RUNS)))
    assert "| defence | no attack | logit_lens | question_rephrase(level=hard) |" in written
    assert "| head_projection | 0.100 [0.060, 0.140] | 0.200 [0.160, 0.240] | 0.300 [0.260, 0.340] |" in written
