"""What a model comes to on the validation part: from answers whose scores are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from toy_benchmark import generated, scored, toy

from mmforget.errors import UserError
from mmforget.evaluation.headline import utility_of
from mmforget.evaluation.measurements import Measurements
from mmforget.evaluation.validation import validation_tasks, validation_values

FULL, HALF, NONE = "a b c d", "a b x y", "x y z w"


def test_forget_is_the_gates_metric_and_utility_the_composite(tmp_path: Path) -> None:
    """ROUGE-L recall of `a b c d`: 1, 1/2, 0 and 0."""
    benchmark = toy(tmp_path)
    samples = generated("forget", [FULL, HALF, NONE, NONE]) + generated("keep", [FULL] * 4) + scored("keep", [-0.5] * 4)
    forget, utility = validation_values(benchmark, samples)
    assert forget == pytest.approx(3 / 8)
    assert utility is not None
    assert utility == utility_of(Measurements(benchmark, samples)).value


def test_what_was_not_asked_is_not_known(tmp_path: Path) -> None:
    assert validation_values(toy(tmp_path), generated("keep", [NONE])) == (None, pytest.approx(0.0, abs=1))


def test_only_what_is_read_is_asked(tmp_path: Path) -> None:
    """No holdout set, no log-probs of the forget set."""
    found = {task.name for task in validation_tasks(toy(tmp_path))}
    assert found == {"toy_forget_gen", "toy_keep_gen", "toy_keep_prob"}


def test_a_benchmark_without_utility_cannot_be_looked_at(tmp_path: Path) -> None:
    benchmark = toy(tmp_path)
    kept = tuple(use for use in benchmark.metrics if use.metric != "model_utility")
    with pytest.raises(UserError, match="needs a gate of single answers and a composite on the utility set 'keep'"):
        validation_tasks(replace(benchmark, document=replace(benchmark.document, metrics=kept)))
