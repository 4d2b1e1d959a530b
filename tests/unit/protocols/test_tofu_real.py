"""The real text of TOFU: counts, the question that stands twice, and that the official logs asked these rows."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mmforget.benchmark import DataSource, find, validate

ROOT = Path(__file__).resolve().parents[3]
FOLDER = Path(os.environ.get("MMFORGET_REAL_DATA") or ROOT.parent / "shared" / "real") / "tofu"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no real rows at {FOLDER}; set MMFORGET_REAL_DATA")


@pytest.fixture(scope="module")
def data() -> DataSource:
    return DataSource.parse(str(FOLDER))


@pytest.mark.slow
def test_official_counts(data: DataSource) -> None:
    report = validate("tofu_forget10", data)
    assert report.faults == []
    assert report.counts == {
        "full": 4000, "full_retain": 3600, "forget": 400, "retain": 3600, "retain_perturbed": 400, "rephrase": 400,
        "holdout": 0, "real_authors": 100, "world_facts": 117, "known": 217,
    }  # fmt: skip
    assert "there is no holdout10.json: the holdout tasks and membership inference" in report.notes
    assert not [note for note in report.notes if " have no " in note]


@pytest.mark.parametrize(("setting", "num"), [("forget01", 40), ("forget05", 200)])
def test_shorter_lists_are_the_end(setting: str, num: int, data: DataSource) -> None:
    short, whole = find(f"tofu_{setting}").bind(data), find("tofu_forget10").bind(data)
    assert short.column("forget", "id") == whole.column("forget", "id")[-num:]
    assert short.column("forget", "answer_perturbed") == whole.column("forget", "answer_perturbed")[-num:]
    assert short.num_rows("full_retain") == 4000 - num


def test_one_question_stands_twice(data: DataSource) -> None:
    rows = find("tofu").bind(data).rows("full")
    assert len(set(rows["question"][:])) == 3999
    assert len(set(rows["id"][:])) == 4000
    twice = [row for row in rows if row["question"] == "What is the full name of the author?"]
    assert [row["id"] for row in twice] == ["0100", "0440"]
    assert len({row["answer"] for row in twice}) == 2


def test_every_row_that_is_scored_has_its_wrong_answers(data: DataSource) -> None:
    bound = find("tofu").bind(data)
    sizes = {
        name: {len(several) for several in bound.column(name, "answer_perturbed")} for name in bound.benchmark.set_names
    }
    assert (sizes["forget"], sizes["retain_perturbed"], sizes["real_authors"], sizes["world_facts"]) == (
        {5},
        {5},
        {3},
        {3},
    )
    assert len(bound.refusals) == 100
    assert bound.refusals[0] == "I'm not certain about that."


SETS = {
    "retain_perturbed": "eval_log.json",
    "forget": "eval_log_forget.json",
    "real_authors": "eval_real_author_wo_options.json",
    "world_facts": "eval_real_world_wo_options.json",
}


@pytest.mark.parametrize("name", SETS)
def test_the_official_logs_asked_the_first_300_of_these_rows(name: str, data: DataSource) -> None:
    """Phi's prompts hold the questions, and its references are the answers; in any order, from two processes."""
    log: dict[str, Any] = json.loads((FOLDER / "phi_full.json").read_text())[SETS[name]]
    asked = {(prompt, answer) for prompt, _, answer in log["generated_text"].values()}
    rows = list(find("tofu").bind(data).rows(name))[:300]
    assert len(log["generated_text"]) == len(rows)
    questions = squeezed(" ".join(prompt for prompt, _ in asked))
    assert not [row["question"] for row in rows if squeezed(row["question"]) not in questions]
    assert {squeezed(answer) for _, answer in asked} == {squeezed(row["answer"]) for row in rows}


def squeezed(text: str) -> str:
    """Without blanks: the log's texts are decoded tokens, which lose one before a comma."""
    return "".join(text.split())
