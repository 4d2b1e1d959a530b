"""The synthetic hospitals as rows: what each setting forgets, wordings, views, and what stock lm_eval makes of them."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import pytest
from lm_eval.tasks import TaskManager

from mmforget.benchmark import DataSource, find
from mmforget.benchmark.find import task_folders
from mmforget.protocols.medforget import twin as hospital

DATA = DataSource("synthetic")
LEVELS = ("institution", "patient", "study", "section")
NUM_QUESTIONS = 18
"""Of a scan: three each of institution, patient, study and three sections."""


def rows(set_name: str, *, level: str = "patient", **metadata: Any) -> list[dict[str, Any]]:
    data = DataSource("synthetic", metadata=metadata)
    return list(find(f"medforget_{level}").bind(data).rows(set_name).remove_columns("images"))


@pytest.mark.parametrize(
    "level, num_forget",
    [("institution", 8 * 18), ("patient", 2 * (18 - 3)), ("study", 18 - 6), ("section", 3)],
)
def test_what_each_setting_forgets(level: str, num_forget: int) -> None:
    """24 scans x 18 questions; a patient's two scans without the hospital's 3, a study without the patient's, ..."""
    forget, retain = rows("forget", level=level), rows("retain", level=level)
    assert (len(forget), len(retain)) == (num_forget, 24 * NUM_QUESTIONS - num_forget)
    path = hospital.FORGOTTEN[level].split("/")
    assert all(row["path"][: len(path)] == path for row in forget)
    assert not any(row["path"][: len(path)] == path for row in retain)
    assert len(rows("full", level=level)) == 24 * NUM_QUESTIONS * 6
    assert len(rows("full_retain", level=level)) == len(retain) * 6
    assert len(rows("rephrase", level=level)) == num_forget * 3


def test_the_default_is_the_patient() -> None:
    assert find("medforget").setting == find("medforget_patient").setting == "patient"
    assert find("medforget").tasks == find("medforget_patient").tasks


def test_forgetting_takes_all_below_along_and_leaves_all_above_and_beside() -> None:
    kept = {tuple(row["path"]) for row in rows("retain", level="study")}
    assert ("inst_02", "pat_0006") in kept
    assert ("inst_02", "pat_0006", "study_12", "FINDINGS") in kept
    assert not any("study_11" in path for path in kept)


def test_every_level_has_every_kind_of_question() -> None:
    found = {(json.loads(row["extra"])["level"], json.loads(row["extra"])["task"]) for row in rows("retain")}
    assert found == {(level, task) for level in LEVELS for task in ("classification", "cloze", "generation")}
    for row in rows("full"):
        assert json.loads(row["extra"])["level"] == LEVELS[len(row["path"]) - 1]


def test_rephrased_questions_were_never_trained_and_have_a_view_of_their_own() -> None:
    trained, held_out = rows("full"), rows("rephrase")
    assert not {row["question"] for row in trained} & {row["question"] for row in held_out}
    assert {json.loads(row["extra"])["view"] for row in trained} == {0, 1, 2, 3}
    assert {json.loads(row["extra"])["view"] for row in held_out} == {4}
    assert {row["id"] for row in rows("forget")} <= {row["id"] for row in trained}


def test_options_do_not_tell_whom_they_are_about() -> None:
    """Of each question with options there are at most three lists of them, over 24 scans."""
    asked: dict[str, set[str]] = {}
    for row in rows("full"):
        if json.loads(row["extra"])["task"] == "classification":
            question, _, options = row["question"].partition("A) ")
            asked.setdefault(question, set()).add(options)
            assert row["answer"] in "A) " + options
    assert max(map(len, asked.values())) == 3


def test_a_subtree_of_the_twin() -> None:
    path = "inst_01/pat_0003"
    forget = rows("forget", forget_path=path)
    assert len(forget) == 2 * (18 - 3)
    assert {row["path"][1] for row in forget} == {"pat_0003"}
    benchmark = find("medforget")
    assert benchmark.bind(DataSource("synthetic", metadata={"forget_path": path})).level == 1
    assert benchmark.bind(DATA).level == 1
    assert find("medforget_section").bind(DATA).level == 3


def test_sizes_of_the_record() -> None:
    facts = find("medforget").bind(DATA).describe()["data"]
    assert facts["num_nodes"] == {"institution": 3, "patient": 12, "study": 24, "section": 72}
    assert facts["forgotten"] == hospital.FORGOTTEN["patient"]
    assert find("medforget").bind(DATA).notes == []


def test_another_seed_gives_other_hospitals() -> None:
    assert Counter(row["answer"] for row in rows("forget")) != Counter(row["answer"] for row in rows("forget", seed=1))


def test_stock_lm_eval_runs_the_tasks_and_scores_them() -> None:
    folders = [str(folder) for folder in task_folders()]
    manager = TaskManager(include_path=folders, include_defaults=False, metadata={"data": "synthetic"})
    tasks = manager.load(["medforget_study"])["tasks"]
    assert set(tasks) == {f"medforget_study_{name}_gen" for name in ("forget", "rephrase", "retain")}
    task = tasks["medforget_study_forget_gen"]
    assert task.config.generation_kwargs == {"do_sample": False, "max_gen_toks": 128, "until": []}
    directions = tasks["medforget_study_retain_gen"].higher_is_better()
    assert directions == {"answer_accuracy": True, "rouge_l_f1": True, "exact_match": True, "degenerate": False}
    assert set(task.higher_is_better().values()) == {False}
    for doc in task.eval_docs:
        kind = json.loads(doc["extra"])["task"]
        found = task.process_results(doc, [doc["answer"]])
        assert set(found) == set(task.aggregation())
        assert math.isnan(found["answer_accuracy"]) == (kind == "generation")
        assert math.isnan(found["rouge_l_f1"]) == (kind != "generation")
        assert found["exact_match"] == 1.0
        wrong = task.process_results(doc, [["nothing of the kind"]])
        assert wrong["exact_match"] == 0.0
