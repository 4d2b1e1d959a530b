"""Rebound and damage of requests one after another, worked out by hand."""

from __future__ import annotations

import pytest

from mmforget.statistics.sequences import cumulative_damage, damage, known_mean, rebound

RECALL = [
    [0.9, 0.8, 0.7],
    [0.2, 0.7, 0.7],
    [0.5, 0.3, 0.6],
    [0.4, 0.1, 0.1],
]
"""Before any request, then after each of three: a row a model, a column the rows of a request."""


def test_what_comes_back_is_the_most_that_ever_did() -> None:
    """Request 1 leaves .2, of which .5 is there after the second and .4 after the third: .3. Request 2 leaves .3, and
    the third takes more: nothing. The third has nothing after it."""
    assert rebound(RECALL) == pytest.approx((0.3, 0.0))


def test_damage_is_what_each_request_cost_and_all_of_them_together() -> None:
    assert damage([0.8, 0.7, 0.75, 0.5]) == pytest.approx((0.1, -0.05, 0.25))
    assert cumulative_damage([0.8, 0.7, 0.75, 0.5]) == pytest.approx((0.1, 0.05, 0.3))


def test_what_is_not_known_stays_unknown() -> None:
    """Rows that --limit leaves out are in no answer; one that is known later is enough to say how far it came."""
    assert rebound([[0.9, None], [None, None], [0.4, None]]) == (None,)
    assert rebound([[0.9, 0.9, 0.9], [0.1, None, None], [None, 0.2, None], [0.3, None, 0.1]]) == (
        pytest.approx(0.2),
        None,
    )
    assert damage([0.8, None, 0.6]) == (None, None)
    assert cumulative_damage([0.8, None, 0.5]) == (None, pytest.approx(0.3))
    assert known_mean([0.1, None, 0.3]) == pytest.approx(0.2)
    assert known_mean([None]) is None


def test_one_request_has_no_rebound() -> None:
    assert rebound([[0.9], [0.1]]) == ()
