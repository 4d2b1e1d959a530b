"""Nearness to a standard: values by hand, and what its interval covers where the true one lies on a bound."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmforget.statistics.jackknife import derived, interval, mean_replicates
from mmforget.statistics.nearness import at_most_one, nearness, one_sided, within_noise
from mmforget.types import Replicates

ENDLESS = (-np.inf, np.inf)


def answers(generator: np.random.Generator, people: np.ndarray, level: float) -> Replicates:  # type: ignore[type-arg]
    """Ten right or wrong answers about everybody; people differ, and alike for every model."""
    rates = np.clip(level + np.repeat(people, 10), 0.01, 0.99)
    subjects = np.repeat([f"p{k}" for k in range(people.size)], 10).tolist()
    return mean_replicates((generator.random(rates.size) < rates).astype(float).tolist(), subjects)


@pytest.mark.parametrize("num_subjects", [4, 20])
@pytest.mark.parametrize("level, true", [(0.3, 1.0), (0.6, 0.4), (0.8, 0.0)])
def test_it_covers_a_perfect_a_partial_and_no_unlearner(num_subjects: int, level: float, true: float) -> None:
    """Target .8, retain model .3: .5 of room. A perfect unlearner's answers are those of another retain model."""
    generator, hits, rounds = np.random.default_rng(2), 0, 200
    for _ in range(rounds):
        people = generator.normal(0, 0.08, size=num_subjects)
        own, target, retain = (answers(generator, people, rate) for rate in (level, 0.8, 0.3))
        found = nearness(own, target=target, standard=retain)
        low, high, _ = interval(found, bounds=ENDLESS)
        assert low is not None
        assert high is not None
        assert low <= found.value <= high
        hits += max(0.0, low) <= true <= min(1.0, high)
    assert hits / rounds >= 0.92


def test_a_mean_of_several_covers_a_perfect_unlearner() -> None:
    """Five metrics, each moved off the retain model by chance: their mean is below 1, its interval is not."""
    generator, hits, rounds = np.random.default_rng(3), 0, 150
    for _ in range(rounds):
        people = generator.normal(0, 0.08, size=12)
        parts = {}
        for key in "abcde":
            own, target, retain = (answers(generator, people, rate) for rate in (0.3, 0.8, 0.3))
            parts[key] = nearness(own, target=target, standard=retain)
        found = derived(lambda values: sum(values.values()) / 5, parts)
        assert found.value < 1.0
        hits += (interval(found, bounds=ENDLESS).high or 0.0) >= 1.0
    assert hits / rounds >= 0.92


def test_by_hand() -> None:
    """Target .9, retain .3: .45 is a quarter of the way back, .15 as far beyond."""
    subjects = list("abcd")
    target, retain = (mean_replicates([level] * 4, subjects, bounds=ENDLESS) for level in (0.9, 0.3))
    for level, wanted in ((0.3, 1.0), (0.45, 0.75), (0.15, 0.75), (0.9, 0.0), (-0.3, 0.0), (-5.0, 0.0)):
        own = mean_replicates([level] * 4, subjects, bounds=ENDLESS)
        assert nearness(own, target=target, standard=retain).value == pytest.approx(wanted)
        assert nearness(own, target=target, standard=0.3).value == pytest.approx(wanted)


def test_a_model_that_is_the_standard_is_surely_near() -> None:
    target, retain = (mean_replicates([level] * 40, [str(k % 4) for k in range(40)]) for level in (1.0, 0.0))
    assert interval(nearness(retain, target=target, standard=retain), bounds=ENDLESS)[:2] == (1.0, 1.0)
    assert interval(nearness(target, target=target, standard=retain), bounds=ENDLESS)[:2] == (0.0, 0.0)


def test_surely_beyond_does_not_move() -> None:
    generator = np.random.default_rng(1)
    target, retain, beyond = (answers(generator, np.zeros(60), level) for level in (0.95, 0.65, 0.1))
    found = nearness(beyond, target=target, standard=retain)
    assert interval(found, bounds=ENDLESS)[:2] == (0.0, 0.0)


def test_room_within_noise() -> None:
    generator = np.random.default_rng(5)
    near, far, other = (answers(generator, np.zeros(8), level) for level in (0.5, 0.95, 0.55))
    noise = within_noise(near, other)
    assert noise is not None
    assert noise > abs(near.value - other.value)
    assert within_noise(far, other) is None
    assert within_noise(near, 0.0) is None
    assert within_noise(near, near.value) is not None
    assert within_noise(mean_replicates([0.5, 0.5], ["a", "b"]), 0.4) is None


def test_a_ratio_near_one_may_be_one() -> None:
    for value, least, most in ((0.95, 0.95, 1.0), (1.05, 1.0, 1.0), (0.5, 0.5, 0.5)):
        shifts = dict.fromkeys("abcd", 0.02)
        found = at_most_one(Replicates(value, 4, shifts, dict.fromkeys(shifts, 3.0)))
        assert (found.value, found.least, found.most) == (min(1.0, value), least, most)
    sure = at_most_one(Replicates(2.0, 4, {"a": 0.1}, {"a": 3.0}))
    assert (sure.value, sure.shifts) == (1.0, {"a": 0.0})


@pytest.mark.parametrize("num_subjects", [2, 4])
@pytest.mark.parametrize("value", [-0.3, 0.0, 0.4, 1.0, 1.004, 2.0])
def test_a_number_that_is_cut_off_lies_between_its_ends(value: float, num_subjects: int) -> None:
    """With too few subjects for an interval, too; a record where it does not counts as contradicting itself."""
    subjects = [f"s{number}" for number in range(num_subjects)]
    own, target = (
        Replicates(one, num_subjects, dict.fromkeys(subjects, 0.01), dict.fromkeys(subjects, num_subjects - 1.0))
        for one in (1.0 - value, 1.0)
    )
    made = [nearness(own, target=target, standard=0.0), one_sided(own, target=target, standard=0.0)]
    made.append(at_most_one(replace(own, value=value, least=value, most=value)))
    for found in made:
        least, most = (found.value if end is None else end for end in (found.least, found.most))
        assert least <= found.value <= most
    assert made[1].value == pytest.approx(min(1.0, max(0.0, value)))
