"""A number over seeds: values by hand, and what it covers where subjects and seeds both vary."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student

from mmforget.statistics.jackknife import interval, mean_replicates
from mmforget.statistics.seeds import over_seeds
from mmforget.types import Replicates

ENDLESS = (-math.inf, math.inf)
SUBJECTS = list("abcd")


def seed(values: list[float]) -> Replicates:
    return mean_replicates(values, SUBJECTS, bounds=ENDLESS)


def test_equal_seeds_are_one_seed() -> None:
    one = mean_replicates([0.2, 0.4, 0.5, 0.9], SUBJECTS)
    found = over_seeds([one, one, one])
    assert (found.low, found.high) == pytest.approx(interval(one, bounds=(0.0, 1.0))[:2])
    assert (found.value, found.num_seeds, found.num_subjects, found.seed_share) == (0.5, 3, 4, 0.0)


def test_seeds_that_differ_by_a_constant_are_a_t_interval_over_seeds() -> None:
    """No difference between subjects: variance is s^2 / S alone, with S - 1 degrees of freedom."""
    found = over_seeds([seed([x] * 4) for x in (1.0, 2.0, 3.0)], bounds=ENDLESS)
    half = 4.302652729696142 / math.sqrt(3)
    assert (found.low, found.high) == pytest.approx((2.0 - half, 2.0 + half))
    assert found.seed_share == 1.0


def test_both_effects_add_up() -> None:
    """Effects that are purely additive have no interaction: the two variances add up."""
    subject = np.array([-1.0, 0.0, 0.0, 1.0])
    found = over_seeds([seed((subject + shift).tolist()) for shift in (-0.6, 0.0, 0.6)], bounds=ENDLESS)
    by_subject, by_seed = 2 / 3 / 4, 0.36 / 3
    assert found.seed_share == pytest.approx(by_seed / (by_subject + by_seed))
    half = math.sqrt(by_subject * student.ppf(0.975, 3) ** 2 + by_seed * student.ppf(0.975, 2) ** 2)
    assert found.high == pytest.approx(half)


def test_too_few_subjects_and_too_few_seeds() -> None:
    few = mean_replicates([0.5, 0.7], ["a", "b"])
    found = over_seeds([few, few])
    assert (found.value, found.low, found.high, found.seed_share) == (0.6, None, None, None)
    assert "too few subjects (2" in found.reason
    with pytest.raises(ValueError, match="1 seed"):
        over_seeds([few])


def test_a_collapsed_seed_widens_the_interval() -> None:
    good = mean_replicates([0.8, 0.9, 0.85, 0.9] * 5, SUBJECTS * 5)
    gone = replace(good, value=0.0, shifts=dict.fromkeys(good.shifts, 0.0), floor=0.0)
    found, without = over_seeds([good, good, gone]), over_seeds([good, good, good])
    assert found.low is not None
    assert without.low is not None
    assert found.low < without.low
    assert (found.seed_share or 0.0) > 0.8


@pytest.mark.parametrize("spread_of_seeds", [0.0, 0.4])
def test_interval_covers_where_subjects_and_seeds_are_crossed(spread_of_seeds: float) -> None:
    generator, hits, rounds = np.random.default_rng(5), 0, 300
    for _ in range(rounds):
        people = generator.normal(0.0, 0.5, size=8)
        runs = []
        for shift in generator.normal(0.0, spread_of_seeds, size=3):
            answers = people[:, None] + shift + generator.normal(0.0, 1.0, size=(8, 10))
            runs.append(
                mean_replicates(answers.ravel().tolist(), np.repeat(list("abcdefgh"), 10).tolist(), bounds=ENDLESS)
            )
        found = over_seeds(runs, bounds=ENDLESS)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0.0 <= found.high
    assert 0.91 <= hits / rounds <= 0.985
