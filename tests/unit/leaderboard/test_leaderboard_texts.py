"""Console, Markdown and JSON say the same, and say it in words."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import GATE, family, metrics, rate, record, store, stored
from rich.console import Console

from mmforget.leaderboard import export, words
from mmforget.leaderboard.board import boards
from mmforget.leaderboard.over_seeds import join_seeds
from mmforget.leaderboard.publish import publish
from mmforget.leaderboard.table import recall, render_all
from mmforget.results.rules import gated
from mmforget.results.schema import LevelResult, Verdict
from mmforget.results.store import find_records
from mmforget.types import Estimate

pytestmark = pytest.mark.slow


def console(runs: list, width: int = 100) -> str:  # type: ignore[type-arg]
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None).print(render_all(boards(stored(runs))))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((None, "–"), (math.nan, "–"), (0.0, "0.000"), (0.12345, "0.123"), (1e-24, "1e-24")),
        *((-0.0001, "-1e-4"), (123.4, "123.4"), (1e6, "1e6"), (-21.7, "-21.700")),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert words.number(value) == text


def test_a_constant_is_called_constant() -> None:
    assert words.measured(Estimate(0.5, 0.5, 0.5, constant=True)) == "0.500 [0.500, 0.500] constant"


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_table_starts_with_target_and_retain_and_the_room_between_them(width: int) -> None:
    text = console(family(), width)
    order = [
        text.index(name) for name in (" target ", " retain ", " room ", "grad_diff", "npo ", "kl ", "ga ", "npo_quick")
    ]
    assert order == sorted(order)
    assert "0.960" in text
    assert max(len(line) for line in text.splitlines()) <= width


def test_collapse_is_said_in_words_not_only_in_colour() -> None:
    text = " ".join(console(family()).split())
    assert "COLLAPSED" in text
    assert "98% of its answers on the forget set are degenerate" in text
    assert "npo_quick is not ranked: only 5 of 28 questions of the forget set were asked." in text
    assert "do not tell it apart from npo" in text


def test_a_failed_gate_is_the_verdict_of_the_board() -> None:
    gate = replace(GATE, target=0.13, passed=False, reason="the target model recalls 0.130, at least 0.800 is asked")
    runs = [record("target", role="target", gate=gate), record("npo", gate=gate)]
    (board,) = boards(stored(runs))
    assert "did not know what it was to forget" in words.board_sentence(board)
    assert "Not passed: the target model recalls 0.130" in words.gate_sentence(gate)
    assert "npo is not ranked: memorisation gate" in console(runs, 200)


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ({"target": None}, "nobody knows whether the target model knew"),
        ({"target": 0.1}, "the target model did not know"),
        ({"retain": None}, "nobody knows what a model says that never saw"),
        ({"retain": 0.9}, "knows it nearly as well as the target model"),
    ],
)
def test_a_board_says_what_is_wrong_with_its_target(numbers: dict[str, float | None], told: str) -> None:
    gate = gated(replace(GATE, **numbers))
    (board,) = boards(stored([record("npo", gate=gate)]))
    assert words.board_sentence(board).startswith("Nothing can be judged here: ")
    assert told in words.board_sentence(board)


@pytest.mark.parametrize(
    ("runs", "sentence"),
    [
        ([record("target", role="target")], "Only reference models so far"),
        ([record("ga", degenerate=1.0)], "Every method destroyed the model"),
        ([record("npo", sets={})], "No row may be ranked"),
    ],
)
def test_boards_without_a_winner(runs: list, sentence: str) -> None:  # type: ignore[type-arg]
    (board,) = boards(stored(runs))
    assert sentence in words.board_sentence(board)


@pytest.mark.parametrize(
    ("status", "utility", "told"),
    [
        ("removed", 0.9, "npo removed it (forget score 0.900) and keeps 92% of"),
        ("removed", 0.5, "npo removed it (forget score 0.900) but keeps only 51% of"),
        ("suppressed", 0.9, "npo only suppresses it"),
        ("remembered", 0.9, "npo still remembers"),
    ],
)
def test_a_row_in_words(status: str, utility: float, told: str) -> None:
    (board,) = boards(stored([record("npo", status=status, utility=utility)]))
    assert told in words.row_sentence(board.ranked[0])


def test_remarks_of_the_verdict_are_told() -> None:
    told = ("forgets beyond the retain model: exact_match is 0.000",)
    verdict = Verdict("undecided", False, True, told, ("beyond_retain",))
    (board,) = boards(stored([record("npo", verdict=verdict)]))
    assert words.row_sentence(board.ranked[0]).endswith(
        "utility. It forgets beyond the retain model: exact_match is 0.000."
    )


def test_recall_is_the_gate_metric_where_nothing_was_asked_exactly() -> None:
    gate = replace(GATE, metric="rouge_l", set="forget")
    kept = [replace(m, set="forget") for m in metrics(recall=0.2, utility=0.7, degenerate=0) if m.name == "rouge_l"]
    (board,) = boards(stored([record("npo", gate=gate, metrics=tuple(kept))]))
    assert board.recall_metric == "rouge_l"
    assert recall(board.ranked[0], board).value == 0.7


def test_leaderboard_json(tmp_path: Path) -> None:
    """The Hub template's keys hold plain numbers; ours add interval, direction, range and reasons."""
    store(tmp_path / "runs", family())
    found = boards(join_seeds(find_records([tmp_path / "runs"])))
    written = publish(found, folder=tmp_path / "board")
    document = json.loads(written.json.read_text())
    rows = {row["name"]: row for row in document["rows"]}
    assert document["schema_version"] == 2
    assert document == json.loads(export.text(export.document(found, folder=tmp_path / "board"))) | {
        "generated": document["generated"]
    }, "what is written in pieces is the document"
    assert [row["rank"] for row in document["rows"]] == [None, None, 1, 2, 3, 4, 5, None]
    npo = rows["npo"]
    assert npo["config"] == {
        "model_name": "micro/fiubench:npo",
        "model_sha": "npo" * 8,
        "model_dtype": "float32",
        "quantisation": None,
        "base_model": "micro/fiubench",
        "base_sha": None,
        "adapter_sha": None,
        "method": "npo",
        "method_args": {"lr": 3e-3, "retain_weight": 1.0},
        "recipe": "micro",
        "seed": 0,
        "forget_split": "forget5",
        "target_sha": "target" * 8,
        "retain_sha": "retain" * 8,
    }
    assert npo["results"]["fiubench_retain_gen"]["rouge_l_paper"] == 0.94
    assert npo["results"]["fiubench_forget_gen"]["exact_match_clean_blank_image"] == 0.04
    assert npo["results"]["fiubench_retain"]["model_utility_clean"] == 0.94
    assert all(isinstance(v, float) for task in npo["results"].values() for v in task.values())
    forget = npo["metrics"][0]
    assert (forget["higher_is_better"], forget["range"], forget["num_scored"]) == (False, [0.0, 1.0], 3 * 28)
    assert rows["npo_quick"]["reasons"] == ["only 5 of 28 questions of the forget set were asked"]
    assert (rows["npo_quick"]["eligible"], npo["eligible"], rows["target"]["eligible"]) == (False, True, False)
    assert npo["sets"]["forget"]["num_questions"] == 28
    assert [len(one["sha256"]) for one in npo["seeds"]] == [64, 64, 64]
    assert (npo["intervals"]["over"], rows["target"]["intervals"]["over"]) == (["subject", "seed"], ["subject"])
    assert list(rows["target"]["samples"]) == ["samples_fiubench_forget_gen.jsonl"]
    pointer = npo["provenance"]
    assert pointer["packages"]["torch"] == "2.13.0"
    assert "command" not in pointer, "it may name private places"
    assert (tmp_path / "board" / pointer["record"]).resolve().is_file()
    assert len(pointer["sha256"]) == 64


def test_what_is_remembered_of_each_part_of_a_hierarchy_is_in_the_json() -> None:
    part = LevelResult("patient", ("a", "p1"), "inside", "exact_match", "", 3, 0.5, 1.0, None)
    (row,) = export.document(boards(stored([record("npo").replace(levels=(part,))])))["rows"]
    assert row["levels"] == [
        {
            "level": "patient", "path": ["a", "p1"], "relation": "inside", "name": "exact_match", "set": "", "num": 3,
            "value": 0.5, "target": 1.0, "retain": None,
        }
    ]  # fmt: skip


def test_unmeasured_and_unbounded_numbers_stay_valid_json() -> None:
    endless = Estimate(-3.0, -4.0, -2.0, 28, range=(-math.inf, 0.0))
    item = record("npo", metrics=(replace(metrics(recall=0, utility=1, degenerate=0)[0], estimate=rate(None)),))
    item = item.replace(headline=item.headline | {"forget_quality": endless})
    (row,) = export.document(boards(stored([item])))["rows"]
    assert json.loads(json.dumps(row, allow_nan=False))["headline"]["forget_quality"]["range"] == [None, 0.0]
    assert "fiubench_forget_gen" not in row["results"]


def test_markdown_cannot_be_broken_by_a_name() -> None:
    text = export.markdown(boards(stored([record("a|b<script>")])))
    assert "a\\|b&lt;script>" in text
    assert "<script>" not in text
    text = export.markdown(boards(stored([record("a\\|b\nc"), record("![x](https://e.example/x.png)")])))
    assert "| a\\\\\\|b c (3 seeds) |" in text, "the backslash and the bar are both escaped, so the cell stays one"
    assert "!\\[x\\](https" in text


def test_markdown_cannot_be_broken_by_a_reason() -> None:
    bare = Estimate(0.5, reasons=("<img src=x>\n# [a](b)",))
    item = record("npo")
    text = export.markdown(boards(stored([item.replace(headline={**item.headline, "overall": bare})])))
    assert "&lt;img src=x> # \\[a\\](b)" in text
    assert "<img" not in text


def test_names_of_strangers_are_plain_text_everywhere() -> None:
    """`$` is no formula in the picture, `[...]` no markup in the console, and no escape code reaches the terminal."""
    from mmforget.leaderboard.plots import forget_vs_utility

    evil = record("a$\\frac{$ [/red] \x1b[2J")
    evil = evil.replace(benchmark=replace(evil.benchmark, title="T$\\frac{$ [/x]"))
    text = console([evil], width=140)
    assert "T$\\frac{$ [/x]" in text
    assert "a$\\frac{$ [/red] \ufffd[2J" in text
    assert "\x1b" not in text
    assert forget_vs_utility(boards(stored([evil]))[0]).startswith(b"\x89PNG")


def test_two_boards_get_a_picture_each(tmp_path: Path) -> None:
    from dataclasses import replace as change

    other = record("npo")
    runs = [record("npo"), other.replace(benchmark=change(other.benchmark, setting="forget1"))]
    written = publish(boards(stored(runs)), folder=tmp_path)
    assert [path.name for path in written.pictures] == [
        "forget_vs_utility_fiubench_forget5_clean.png",
        "forget_vs_utility_fiubench_forget1_clean.png",
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written.pictures)


FEW = Estimate(0.8, num_scored=5, num_subjects=1, reasons=("no interval: too few subjects (1; at least 4 are needed)",))


def test_no_interval_is_said_everywhere_and_is_no_certainty(tmp_path: Path) -> None:
    """One forgotten person: the table, its sentence, Markdown and JSON say that the place cannot be told."""
    lonely = record("npo", headline={"overall": FEW, "forget_score": FEW, "utility": rate(0.9, num_subjects=40)})
    shown = boards(stored([lonely, record("kl", overall=0.2)]))
    text = " ".join(console([lonely, record("kl", overall=0.2)]).split())
    why = "its place cannot be told: too few subjects (1; at least 4 are needed)"
    for where in (text, export.markdown(shown)):
        assert f"npo: {why}." in where
        assert f"But {why}." in where
        assert "Subjects that the intervals rest on: overall 1, forget score 1, utility 40." in where
        assert ("unsure" if where is text else "no interval") in where
    (row, other) = json.loads(export.text(export.document(shown)))["rows"]
    assert (row["rank_range"], row["rank_note"], row["headline"]["overall"]["num_subjects"]) == (None, why, 1)
    assert (other["rank_range"], other["rank_note"]) == ([1, 2], "")


def test_subjects_stand_beside_an_interval() -> None:
    assert words.subjects(Estimate(0.5, 0.4, 0.6, num_subjects=4)) == "4 subjects"
    assert words.subjects(FEW) == "1 subject, too few for an interval"
    assert words.subjects(Estimate(0.5)) == ""
    assert (words.interval(FEW), words.interval(FEW, short=True)) == ("no interval", "unsure")
    assert words.interval(Estimate(0.5)) == ""
