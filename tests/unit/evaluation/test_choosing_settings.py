"""Which trial the rule takes, on outcomes written by hand."""

from __future__ import annotations

import pytest

from mmforget.evaluation.choosing import Outcome, chosen, forgotten, sound, worst_share

TARGET = Outcome(forget_score=0.0, forget=0.8, utility=0.5)
"""So that at least 0.4 of utility has to be left."""


def trial(score: float | None, utility: float | None, *, collapses: bool = False, degenerate: float = 0.0) -> Outcome:
    return Outcome(score, 0.2, utility, collapses, degenerate)


@pytest.mark.parametrize(
    ("outcomes", "place"),
    [
        ([trial(0.5, 0.5), trial(0.9, 0.41), trial(0.95, 0.39)], 1),
        ([trial(0.5, 0.5), trial(0.9, 0.4)], 1),
        ([trial(0.5, 0.5), trial(0.9, 0.5, collapses=True)], 0),
        ([trial(0.5, 0.5), trial(0.9, 0.5, degenerate=0.25)], 0),
        ([trial(0.9, 0.5, degenerate=0.4), trial(0.95, 0.5, collapses=True)], 0),
        ([trial(0.9, 0.2), trial(0.1, 0.3), trial(0.2, None)], 1),
        ([trial(0.9, 0.1, collapses=True), trial(0.8, 0.2, collapses=True)], 1),
        ([trial(0.7, 0.45), trial(0.7, 0.48), trial(0.7, 0.48)], 1),
        ([trial(None, 0.5), trial(0.0, 0.45)], 1),
        ([Outcome(collapses=True), Outcome(collapses=True)], 0),
    ],
)
def test_the_rule(outcomes: list[Outcome], place: int) -> None:
    assert chosen(outcomes, target=TARGET) == place


def test_without_trials_there_is_no_choice() -> None:
    with pytest.raises(ValueError, match="no trials"):
        chosen([], target=TARGET)


def test_where_the_target_has_no_forget_score_the_share_that_is_gone_counts() -> None:
    target = Outcome(None, forget=0.8, utility=0.5)
    assert forgotten(Outcome(0.3, forget=0.2), target=target) == pytest.approx(0.75)
    assert forgotten(Outcome(0.3, forget=0.9), target=target) == 0.0
    assert forgotten(Outcome(0.3, forget=None), target=target) == -1.0
    assert forgotten(Outcome(0.3, forget=0.2), target=TARGET) == 0.3
    nothing_known = Outcome(None, forget=0.0, utility=0.5)
    assert forgotten(Outcome(None, forget=0.0), target=nothing_known) == -1.0


def test_what_is_near_a_collapse_is_left_out_while_something_else_is_left() -> None:
    far, near, gone = trial(0.1, 0.5), trial(0.9, 0.5, degenerate=0.3), trial(0.9, 0.5, collapses=True)
    scores = {id(near): 0.9, id(far): 0.25, id(gone): 0.9}

    def left(*tried: Outcome) -> list[Outcome]:
        return sound(tried, forget_score=lambda one: scores[id(one)])

    assert left(near, far, gone) == [far]
    assert left(near, gone) == [near]
    assert left(gone) == []
    scores[id(far)] = 0.24
    assert left(near, far, gone) == [near, far]


def test_the_worst_task_counts() -> None:
    assert worst_share({"a": {"degenerate,none": 0.1}, "b": {"degenerate,none": 0.3}, "c": {"acc,none": 1.0}}) == 0.3
    assert worst_share({"c": {"acc,none": 1.0}}) == 0.0
