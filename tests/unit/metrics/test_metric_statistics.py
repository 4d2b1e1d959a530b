"""The mean estimate with its interval by subject."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mmforget.metrics import rouge_l
from mmforget.metrics.estimate import is_constant, mean_estimate
from mmforget.types import Estimate, Score


def mean(values: Sequence[float], subjects: Sequence[str]) -> Estimate:
    scores = [Score(value, subject) for value, subject in zip(values, subjects, strict=True)]
    return mean_estimate(rouge_l.METRIC, scores)


def width(estimate: Estimate) -> float:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.high - estimate.low


def test_the_order_of_rows_does_not_matter() -> None:
    values, subjects = [0.0, 1.0, 0.5, 0.25, 0.75], ["a", "b", "c", "b", "d"]
    turned, found = mean(values[::-1], subjects[::-1]), mean(values, subjects)
    assert (turned.low, turned.high) == pytest.approx((found.low, found.high))


def test_clustering_widens_the_interval() -> None:
    """Ten subjects of twenty equal answers know as much as ten answers, not two hundred."""
    values = [float(i // 20 % 2) for i in range(200)]
    clustered, alone = mean(values, [f"s{i // 20}" for i in range(200)]), mean(values, [f"s{i}" for i in range(200)])
    assert width(clustered) > 3 * width(alone)
    assert (clustered.num_subjects, alone.num_subjects) == (10, 200)


@pytest.mark.parametrize("num_subjects", [4, 8, 40])
def test_the_interval_covers_the_truth_about_as_often_as_it_says(num_subjects: int) -> None:
    """Rates of .7 with subjects who differ (beta, correlation .2): a 95 % interval holds it 95 % of the time or so."""
    generator, hits, rounds = np.random.default_rng(11), 0, 400
    subjects = np.repeat([f"s{i}" for i in range(num_subjects)], 10).tolist()
    for _ in range(rounds):
        rates = np.repeat(generator.beta(2.8, 1.2, size=num_subjects), 10)
        found = mean((generator.random(rates.size) < rates).astype(float).tolist(), subjects)
        hits += found.low <= 0.7 <= found.high  # type: ignore[operator]
    assert 0.92 <= hits / rounds <= 0.985


@pytest.mark.parametrize("num_subjects", [1, 2, 3])
def test_few_subjects_have_a_value_and_their_number_but_no_interval(num_subjects: int) -> None:
    found = mean([0.2, 0.4, 0.9], [str(index % num_subjects) for index in range(3)])
    assert found.value == pytest.approx(0.5)
    assert (found.low, found.high, found.num_subjects) == (None, None, num_subjects)
    assert found.reasons == (f"no interval: too few subjects ({num_subjects}; at least 4 are needed)",)


def test_constant() -> None:
    assert is_constant([0.3, 0.1 + 0.2])
    assert is_constant([float("inf")] * 2)
    assert not is_constant([0.3, 0.4])
    assert not is_constant([0.3])


def test_mean_estimate_reports_constants_and_reasons() -> None:
    scores = [Score(0.5, "a"), Score(0.5, "b"), Score(None, "c", "no keywords"), Score(None, "c", "no keywords")]
    found = mean_estimate(rouge_l.METRIC, scores)
    assert (found.value, found.constant) == (0.5, True)
    assert (found.num_scored, found.num_unscored, found.num_subjects) == (2, 2, 2)
    assert found.reasons[0] == "2 of 4 unscored: no keywords"


def test_equal_scores_are_no_certainty() -> None:
    """40 right answers about four people: the rate may be 1, and may well be .9, but hardly .5."""
    found = mean([1.0] * 40, [str(index % 4) for index in range(40)])
    assert (found.value, found.high, found.constant) == (1.0, 1.0, True)
    assert found.low is not None
    assert 0.5 < found.low < 0.9


def test_a_score_that_is_no_number_is_none() -> None:
    found = mean_estimate(rouge_l.METRIC, [Score(0.5, "a"), Score(float("nan"), "b")])
    assert (found.value, found.num_scored, found.num_unscored) == (0.5, 1, 1)
    assert "1 of 2 unscored: the score is not a number" in found.reasons
