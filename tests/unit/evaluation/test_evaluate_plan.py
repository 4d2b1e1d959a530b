"""The plan: every model, task and attack with its number of questions, and what is left out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from toy_benchmark import toy

from mmforget.attacks.naming import attack_names
from mmforget.benchmark.source import DataSource
from mmforget.benchmark.spec import Benchmark
from mmforget.errors import UserError
from mmforget.evaluation.plan import plan


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    return toy(tmp_path_factory.mktemp("toy") / "tasks")


def test_steps_with_counted_rows_and_an_empty_set(benchmark: Benchmark) -> None:
    found = plan(benchmark.bind(DataSource("synthetic")), models=["target", "npo"])
    assert len(found.steps) == 2 * 5 * 2
    assert {step.num_rows for step in found.steps} == {6}
    assert [(step.task, step.attack) for step in found.steps[:2]] == [
        ("toy_forget_gen", None),
        ("toy_forget_gen", "blank_image"),
    ]
    assert [tuple(item) for item in found.left_out] == [("toy_none_gen", "the data have no rows for the none set")]
    assert json.loads(json.dumps(found.as_dict()))["steps"][0]["model"] == "target"


def test_attacks_are_made_on_what_is_forgotten(benchmark: Benchmark) -> None:
    """A document's and those beside it, each once; what applies to no task is named."""
    names = attack_names("logit_lens,image_rephrase,blank_image")
    document = replace(benchmark.document, attacks=attack_names("logit_lens"))
    found = plan(replace(benchmark, document=document), models=["m"], attacks=names, blank_image=False)
    made = [(step.task, step.attack) for step in found.steps if step.attack not in (None, "blank_image")]
    assert made == [("toy_forget_gen", "logit_lens"), ("toy_forget_gen", "image_rephrase")]
    assert sum(step.attack == "blank_image" for step in found.steps) == 6
    words = toy(benchmark.tasks[0].path.parent, name="toy_forget_gen_text")
    (idle,) = plan(words, models=["m"], attacks=attack_names("logit_lens,image_rephrase")).left_out
    assert tuple(idle) == ("attack image_rephrase", "applies to none of the tasks that run")


def test_text_for_people(benchmark: Benchmark) -> None:
    text = plan(benchmark.bind(DataSource("synthetic")), models=["target", "npo"], limit=2, blank_image=False).text()
    assert text.splitlines()[:2] == [
        "toy: 5 evaluations of 2 models (target, npo)",
        "  toy_forget_gen: 2 questions of the forget set, gen",
    ]
    assert text.splitlines()[-1] == "  left out: toy_none_gen (the data have no rows for the none set)"


def test_without_data_numbers_are_unknown_and_nothing_is_loaded(benchmark: Benchmark) -> None:
    found = plan(benchmark, models=["target"])
    assert {step.num_rows for step in found.steps} == {None}
    assert "unknown number of questions" in found.text()


@pytest.mark.parametrize("limit, expected", [(0.5, 3), (0.1, 1), (100, 6), (None, 6)])
def test_limits(benchmark: Benchmark, limit: float | None, expected: int) -> None:
    found = plan(benchmark, models=["m"], counts={"forget": 6}, limit=limit)
    assert next(step.num_rows for step in found.steps if step.set == "forget") == expected


def test_text_tasks_have_no_control(tmp_path: Path) -> None:
    found = plan(toy(tmp_path / "tasks", name="toy_forget_gen_text"), models=["m"])
    assert [step.attack for step in found.steps] == [None]


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no task is left"):
        plan(toy(tmp_path / "tasks", name="toy_none_gen").bind(DataSource("synthetic")), models=["m"])
