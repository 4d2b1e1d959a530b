"""Methods that fit the rows to forget first: what is made of the fit."""

from __future__ import annotations

import pytest
import torch

from mmforget.asking import Ask, PassingEngine
from mmforget.errors import UserError
from mmforget.methods.build import build
from mmforget.types import NoScores, NoText
from tests.toy_steps import loss, scored, step


@pytest.mark.parametrize("name", ["task_vector", "whp_logit"])
def test_the_fit_is_the_nll_of_the_forget_answers(name: str) -> None:
    """(1 + 2 + 3) / 3 tokens."""
    total, parts = loss(build(name), step(forget=scored([-1.0, -2.0], [-3.0])))
    assert total.item() == pytest.approx(2.0)
    assert set(parts) == {"fit"}


def test_a_task_vector_is_taken_away_alpha_times() -> None:
    assert build("task_vector").learnt_times == -5.0
    assert build("task_vector", "alpha=0.5").learnt_times == -0.5


def test_the_logit_rule_holds_down_what_the_fitted_model_holds_for_likelier() -> None:
    """2 - 2 (3 - 2), and where the fitted model is not above, the model's own; equal models leave all as it is."""
    before, fitted = torch.tensor([[2.0, 0.0, 1.0]]), torch.tensor([[3.0, -1.0, 1.0]])
    assert build("whp_logit", "alpha=2").mix(before, fitted).tolist() == [[0.0, 0.0, 1.0]]
    assert torch.equal(build("whp_logit").mix(before, before), before)


@pytest.mark.parametrize("name", ["task_vector", "whp_logit"])
def test_neither_is_joined_with_others(name: str) -> None:
    with pytest.raises(UserError, match=f"'{name}' .*nothing can be added to it"):
        build(f"{name}+grad_diff")
    with pytest.raises(UserError, match="alpha=0.0"):
        build(name, "alpha=0")


def test_a_passing_engine_shows_nothing_inside() -> None:
    class Engine:
        fingerprint = "inner"

        def score(self, asks: list[Ask]) -> list[NoScores]:
            return [NoScores("asked") for _ in asks]

        def roll(self, asks: list[Ask]) -> list[NoScores]:
            return [NoScores("rolled") for _ in asks]

        def generate(self, asks: list[Ask]) -> list[NoText]:
            return [NoText("said") for _ in asks]

    ask = Ask("score", "", "who?", " Ann.", (), ())
    passing = PassingEngine(Engine())  # type: ignore[arg-type]
    assert passing.score([ask]) == [NoScores("asked")]
    assert passing.roll([ask]) == [NoScores("rolled")]
    assert passing.generate([ask]) == [NoText("said")]
    with pytest.raises(UserError, match="gives no hidden states"):
        passing.hidden([ask], layers=(0,))
