"""MMUBench's tasks in lm_eval: the same contexts that training shows, a setting of their own, clean scores."""

from __future__ import annotations

import math
from typing import Any

import pytest
from lm_eval.tasks import TaskManager

from mmforget.benchmark import DataSource, find
from mmforget.benchmark.find import task_folders
from mmforget.types import TokenScores

DATA = DataSource("synthetic")


@pytest.fixture(scope="module")
def tasks() -> dict[str, Any]:
    folders = [str(folder) for folder in task_folders()]
    manager = TaskManager(include_path=folders, include_defaults=False, metadata={"data": "synthetic"})
    return dict(manager.load(["mmubench", "mmubench_all"])["tasks"])


@pytest.mark.parametrize("group", ["mmubench", "mmubench_all"])
def test_contexts_are_those_of_the_examples(tasks: dict[str, Any], group: str) -> None:
    """Without any --metadata the tasks of `all` ask about four concepts and the others about one."""
    benchmark = find(group)
    for spec in benchmark.tasks:
        task, examples = tasks[spec.name], benchmark.bind(DATA).examples(spec.set)
        assert len(task.eval_docs) == len(examples)
        for doc, example in list(zip(task.eval_docs, examples, strict=True))[:5]:
            context = task.fewshot_context(doc, 0)
            made = task.construct_requests(doc, context, metadata=(spec.name, 0, 1))
            first = made[0] if isinstance(made, list) else made
            assert context == example.context
            if spec.kind == "prob":
                assert first.arguments[1] == example.answer
            assert (spec.modality == "image") == (len(first.arguments) == 3 or "visual" in str(first.arguments[-1]))


def test_scores_of_an_answer(tasks: dict[str, Any]) -> None:
    task = tasks["mmubench_generality_gen"]
    doc = task.eval_docs[0]
    assert task.process_results(doc, ["This is Moko."]) == {"concept_em": 1.0, "degenerate": 0.0}
    assert task.process_results(doc, ["This is Pibwick."])["concept_em"] == 0.0
    assert task.process_results(doc, [""]) == {"concept_em": 0.0, "degenerate": 1.0}
    assert task.higher_is_better()["concept_em"]


def test_scores_of_a_text(tasks: dict[str, Any]) -> None:
    """Four tokens, of which the third is the name's: exp of the mean of 1, 1 and 4 without it, of all for p."""
    task = tasks["mmubench_fluency_prob"]
    texts = [(-1.0, -1.0, -9.0, -4.0), (-1.0, -1.0), (-1.0, -1.0, -9.0)]
    results = [TokenScores(text, is_greedy=False) for text in texts]
    found = task.process_results(task.eval_docs[0], results)
    assert found == {"probability": pytest.approx(math.exp(-15 / 4)), "fluency": pytest.approx(math.exp(2.0))}
    plain = [(-1.0, False)] * 3
    assert all(math.isnan(value) for value in task.process_results(task.eval_docs[0], plain).values())
