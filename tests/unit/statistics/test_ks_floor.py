"""The smallest p of the two-sample Kolmogorov-Smirnov test for a number of rows, which is no statement on models."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import ks_2samp

from mmforget.statistics.kolmogorov_smirnov import is_floor, ks_test, lowest_log10_p

FLOORS = {40: "1.860e-23", 200: "1.9426e-119", 300: "1.480e-179", 400: "1.06359e-239"}
"""By rows of TOFU's forget sets; open-unlearning's tables have those of 200 and 400."""


@pytest.mark.parametrize("num", FLOORS)
def test_the_floors_of_tofu(num: int) -> None:
    """2 / C(2n, n): of all orders of 2n values two have all of one sample first."""
    found = ks_test(range(num), range(num, 2 * num))
    assert is_floor(found)
    digits = len(FLOORS[num].split("e")[0]) - 2
    assert f"{found.p:.{digits}e}" == FLOORS[num]
    assert found.p == pytest.approx(2 / math.comb(2 * num, num), rel=1e-9)
    assert found.p == pytest.approx(ks_2samp(np.arange(num), np.arange(num, 2 * num)).pvalue, rel=1e-9)
    assert lowest_log10_p(num, num) == pytest.approx(found.log10_p, rel=1e-12)


def test_unequal_sizes_and_one_value_inside() -> None:
    found = ks_test(range(5), range(10, 17))
    assert is_floor(found)
    assert found.log10_p == pytest.approx(lowest_log10_p(5, 7))
    inside = ks_test([*range(4), 12], range(10, 17))
    assert not is_floor(inside)
    assert inside.log10_p > lowest_log10_p(5, 7)


def test_a_sample_of_one_against_one_says_nothing() -> None:
    assert lowest_log10_p(1, 1) == 0.0
