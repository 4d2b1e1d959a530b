"""Rank correlation: scipy's, with ties, and when there is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from mmforget.statistics.ranks import spearman


def test_it_is_scipys_with_ties_and_lies_in_its_interval() -> None:
    generator = np.random.default_rng(3)
    truths = generator.integers(0, 4, size=25).astype(float)
    values = np.round(truths + generator.normal(0, 2, size=25))
    found = spearman(values.tolist(), truths.tolist())
    assert found.value == pytest.approx(spearmanr(values, truths).statistic)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high  # type: ignore[operator]
    assert found == spearman(values.tolist(), truths.tolist())


def test_values_in_the_order_of_the_truth_have_one_and_in_the_other_order_minus_one() -> None:
    assert spearman([1.0, 2.0, 5.0, 9.0], [0.0, 0.25, 0.5, 1.0]).value == pytest.approx(1.0)
    assert spearman([9.0, 5.0, 2.0, 1.0], [0.0, 0.25, 0.5, 1.0]).value == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("values", "truths", "reason"),
    [([1.0, 2.0, 3.0], [0.0, 1.0, 1.0], "different truths"), ([1.0] * 3, [0.0, 0.5, 1.0], "all values are the same")],
)
def test_there_is_none_of_too_few_levels_or_of_a_constant(
    values: list[float], truths: list[float], reason: str
) -> None:
    found = spearman(values, truths)
    assert (found.value, found.low, found.high) == (None, None, None)
    assert reason in found.reason
