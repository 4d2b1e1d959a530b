"""p values of an excess: the level at which the interval first holds what it is compared with."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from mmforget.statistics.excess import LEAST, holm, p_value
from mmforget.statistics.jackknife import interval, parts_of
from mmforget.types import Replicates


def test_a_p_value_by_hand() -> None:
    """.5 +- .1 in [-1, 1] with 3 degrees of freedom: at 0 Wilson's error is .1 * sqrt(.25 / (.75 * .25)) = .115470."""
    found = p_value(0.5, null=0.0, parts=[(0.01, 3.0)])
    assert found == pytest.approx(2 * stats.t.sf(0.5 / 0.1154700538, 3), rel=1e-6)


def test_it_says_what_the_interval_says() -> None:
    people = ("a", "b", "c", "d")
    for value in (0.1, 0.2, 0.3, 0.4, 0.6, 0.9):
        found = Replicates(value, 4, dict.fromkeys(people, 0.05), dict.fromkeys(people, 3.0), floor=0.002)
        low = interval(found, bounds=(-1.0, 1.0)).low
        assert low is not None
        assert (p_value(value, null=0.0, parts=parts_of(found)) < 0.05) == (low > 0.0)


def test_nothing_and_everything() -> None:
    assert p_value(0.3, null=0.3, parts=[(0.01, 3.0)]) == 1.0
    assert p_value(0.3, null=0.0, parts=[(0.0, math.inf)]) == LEAST
    assert p_value(0.9, null=0.0, parts=[(1e-6, math.inf)]) == LEAST


def test_holm_by_hand() -> None:
    """Of .01, .04, .03: 3 * .01, then 2 * .03, then .04, which is not less than the one before."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
