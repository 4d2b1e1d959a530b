"""Success of attacks by hand: attempts in their order, ranks that share a budget, every budget, no answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mmforget.benchmark.document import MetricName
from mmforget.errors import UserError
from mmforget.metrics.arguments import metric_of
from mmforget.metrics.attack_success import AttackSuccess, budget_needed
from mmforget.metrics.attack_success_area import AttackSuccessArea
from mmforget.types import Sample

ROW = Sample("t", "forget", "gen", "0", "0", "Who?", "Lab", attack="a")


def attempts(*texts: str, answer: str = "Lab", keywords: tuple[str, ...] = ()) -> list[Sample]:
    row = replace(ROW, answer=answer, keywords=keywords)
    return [replace(row, response=text, attempt=at) for at, text in enumerate(texts)]


def success(samples: list[Sample], *, budget: int, profile: str = "clean") -> float | None:
    return AttackSuccess(budget).score_attempts(samples, profile=profile).value


def test_the_first_attempt_that_says_the_answer_is_the_budget_needed() -> None:
    tried = attempts("a cat", "labrador", "it is a lab.", "Lab")
    assert budget_needed(tried, profile="clean") == 3
    assert budget_needed(tried, profile="released") == 4
    assert budget_needed(attempts("a Labrador"), profile="released") == 1
    assert budget_needed(attempts("a cat", "a dog"), profile="clean") is None
    shuffled = [tried[2], tried[0], tried[3], tried[1]]
    assert budget_needed(shuffled, profile="clean") == 3
    assert [success(tried, budget=budget) for budget in (1, 2, 3, 20)] == [0.0, 0.0, 1.0, 1.0]


def test_keywords_stand_for_the_answer_where_a_row_has_them() -> None:
    tried = attempts(
        "in 1987", "asthma", "asthma since 1987", answer="He had asthma in 1987.", keywords=("Asthma", "1987")
    )
    assert budget_needed(tried, profile="clean") == 3
    assert budget_needed(tried, profile="released") is None


def test_lists_share_the_budget_evenly() -> None:
    """Two lists and a best rank of 2: three candidates of each are needed."""
    ranked = [replace(ROW, attempt=0, ranks=(7, 2))]
    assert budget_needed(ranked, profile="clean") == 6
    assert [success(ranked, budget=budget) for budget in (5, 6, 7, 20)] == [0.0, 1.0, 1.0, 1.0]
    assert budget_needed([replace(ROW, ranks=(0, 399))], profile="released") == 2


@pytest.mark.parametrize(
    "samples",
    [attempts("no", "no", "Lab", "Lab"), attempts("no"), [replace(ROW, ranks=(4, 1))], [replace(ROW, ranks=(0,))]],
    ids=["third", "never", "ranks", "first"],
)
def test_the_area_is_the_mean_over_all_budgets(samples: list[Sample]) -> None:
    curve = [success(samples, budget=budget) for budget in range(1, 21)]
    found = AttackSuccessArea().score_attempts(samples).value
    assert found == pytest.approx(sum(value or 0.0 for value in curve) / 20)


def test_a_question_without_an_answer_is_not_a_failed_attack() -> None:
    tried = [*attempts("no"), replace(ROW, attempt=1, unanswered="too private")]
    for metric in (AttackSuccess(), AttackSuccessArea()):
        assert metric.score_attempts(tried) == (None, "0", "too private", False)
        assert metric.score_attempts([replace(ROW, attempt=0)]).reason == "no response"
        assert metric.score_attempts(attempts("no", answer="...")).reason == "no answer to look for"


def test_one_sample_is_one_attempt() -> None:
    (one,) = attempts("the Lab")
    for metric in (AttackSuccess(), AttackSuccessArea()):
        assert metric.score(one) == metric.score_attempts([one]) == (1.0, "0", "", False)


@pytest.mark.parametrize("name", ["attack_success", "attack_success_area"])
def test_a_budget_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"budget=0 of metric '{name}' is not allowed; give at least 1 candidate"):
        metric_of(MetricName(name, {"budget": 0}))
