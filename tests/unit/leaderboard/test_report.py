"""A report shows a stranger's texts as text, has before, after and never, and says what it does not show."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from fake_runs import family, record, store

from mmforget.leaderboard.board import Board, boards
from mmforget.leaderboard.report import as_html, as_markdown, report_of
from mmforget.leaderboard.rows import row_of
from mmforget.results.evidence import Evidence
from mmforget.results.schema import AnswerExample, MetricResult, RunRecord, Verdict
from mmforget.results.store import KEY, StoredRun
from mmforget.types import Estimate
from tests.commands import command

EVIDENCE = Evidence("cloze", "t", "black_box", 3, 1, 4, 0.5, 1.0, 0.0, 0.5, 0.2, 0.8, 0.01, 0.02, 0.9, "found")
HOSTILE = '<script>alert("x")</script> [a](javascript:x) `b` | c\n# d'


def told(role: str, *, value: float) -> RunRecord:
    result = MetricResult("disclosure", "forget", "clean", Estimate(value, 0.1, 0.9, 4, 0, False, num_subjects=4))
    is_method = role == "unlearned"
    return record(
        "npo" if is_method else role,
        role=role,
        metrics=(result,),
        verdict=Verdict("suppressed" if is_method else "reference", False, True, evidence=(EVIDENCE,) * is_method),
        model_info={"fingerprint": role, "pretrained": HOSTILE},
        headline={"forget_score": Estimate(value, num_subjects=3), "utility": Estimate(0.9)},
        examples=(AnswerExample(HOSTILE, "forget", HOSTILE, "ann.", HOSTILE, group="forget"),),
        data={
            "source": "path",
            "path": "/home/ann/people",
            "request": {"title": HOSTILE},
            "forgets": [HOSTILE],
            "left_out": ["2 rows: left out"],
        },
        references={"target": "target", "retain": "retain"},
    )


def measured() -> Board:
    runs = [
        StoredRun(told(role, value=value), Path(role, "results.json"), {})
        for role, value in (("target", 0.97), ("retain", 0.02), ("unlearned", 0.31))
    ]
    (board,) = boards(runs)
    return board


def reported() -> tuple[str, str]:
    board = measured()
    row = next(row for row in (*board.ranked, *board.refused))
    report = report_of(board, row)
    return as_html(report), as_markdown(report)


def test_an_export_says_neither_who_is_forgotten_nor_who_asked() -> None:
    board = measured()
    for row in board.rows:
        found = row_of(board, row, folder=Path())["data"]
        assert found == {"source": "path", "path": "people", "left_out": ["2 rows: left out"]}


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_one_file_without_script_and_texts_of_strangers_are_text() -> None:
    page = Tags()
    html = reported()[0]
    page.feed(html)
    assert not {"script", "img", "link", "iframe", "a"} & set(page.found)
    assert "default-src &#39;none&#39;" in html
    assert '<script>alert("x")</script>' in page.text
    assert "http" not in html.replace("http-equiv", "")
    assert "/home/ann" not in html


def test_markdown_shows_them_as_text_too() -> None:
    text = reported()[1]
    assert "<script>" not in text
    assert "&lt;script&gt;" in text.replace("\\", "")
    assert "\\[a\\](" in text.replace("\\(", "(")
    assert "\\`b\\`" in text
    lines = [line for line in text.splitlines() if line.startswith("#")]
    assert lines[1:] == [
        "## What was asked", "## What was done", "## What was measured", "## What this does not show",
        "## How to check it",
    ]  # fmt: skip


def test_it_says_before_after_and_never_and_what_is_left_open() -> None:
    text = reported()[1].replace("\\", "")
    assert "| given away in its answers | 0.970 [0.100, 0.900] | 0.310 [0.100, 0.900] | 0.020 [0.100, 0.900] |" in text
    assert "| cloze | 1.000 | 0.500 | 0.000 | comes back |" in text
    assert "Suppressed: the model no longer says it when asked plainly" in text
    assert "- left out of the data: 2 rows: left out" in text
    assert "how much of this is chance: too few subjects (3; at least 4 are needed), so there is no interval" in text
    assert "whether another training with the same settings would come to the same: there is one" in text
    assert "what other models, copies, backups, logs and the training data hold" in text


def test_without_a_method_it_says_that_nothing_was_forgotten() -> None:
    (board,) = boards([StoredRun(told("target", value=0.1), Path("t", "results.json"), {})])
    text = as_markdown(report_of(board, None))
    assert "Nothing was forgotten: no method was carried out on the model" in text


def test_sets_about_others_are_told_apart_and_no_set_about_the_forgotten_is_among_them() -> None:
    results = tuple(
        MetricResult("exact_match", name, "clean", Estimate(0.5, higher_is_better=is_kept))
        for name, is_kept in (("keep", True), ("facts", True), ("forget_text", False))
    )
    (board,) = boards([StoredRun(told("target", value=0.1).replace(metrics=results), Path("t", "results.json"), {})])
    text = as_markdown(report_of(board, None)).replace("\\", "")
    told_of = [line.partition(" | ")[0] for line in text.splitlines() if "answered word for word" in line]
    assert told_of == [f"| about everybody else: answered word for word ({name})" for name in ("keep", "facts")]


def test_a_command_names_no_folder_of_anybody() -> None:
    item = told("target", value=0.1)
    words = ("mmforget", "run", "--model_args", "pretrained=/home/ann/m,dtype=float32", "--data=~/an/p", "/home/a/out/")
    item = item.replace(provenance=replace(item.provenance, command=words))
    (board,) = boards([StoredRun(item, Path("t", "results.json"), {})])
    text = as_markdown(report_of(board, None)).replace("\\", "")
    assert "- command: mmforget run --model_args pretrained=m,dtype=float32 --data=p out/" in text


def test_a_damaged_record_beside_is_passed_over_and_said(tmp_path: Path) -> None:
    store(tmp_path, [one for one in family() if one.name in ("target", "retain", "npo")])
    (path,) = (tmp_path / "target").glob("results_*.json")
    document = json.loads(path.read_text())
    document[KEY]["headline"]["overall"].update(low=0.9, high=1.0)
    path.write_text(json.dumps(document))
    said = command("report", tmp_path / "npo", "--output_path", tmp_path / "report.md")
    assert said.status == 2
    assert "passed over: " in said.err
    assert "the record contradicts itself" in said.err
    assert "## What was measured" in (tmp_path / "report.md").read_text()
