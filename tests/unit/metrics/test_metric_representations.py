"""CKA and neighbours by hand, by formulas written out anew, and where nothing can change them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mmforget.errors import UserError
from mmforget.metrics.cka import CKA
from mmforget.metrics.knn_overlap import KnnOverlap
from mmforget.metrics.representations import SHARES
from mmforget.statistics.representations import gram, linear_cka, neighbours
from mmforget.types import Sample, States

Floats = NDArray[np.float64]


def rows(states: Floats, *, num_subjects: int = 5, subject: str = "p") -> list[Sample]:
    """A row a state, the same at every depth."""
    named = [dict.fromkeys(SHARES, States.of(one)) for one in states]
    return [
        Sample(
            "t", "forget", "gen", str(number), f"{subject}{number % num_subjects}", "who?", "Ann.",
            attack="representations", attempt=0, states=kept,
        )
        for number, kept in enumerate(named)
    ]  # fmt: skip


def drawn(seed: int, *, num: int = 30, width: int = 6) -> Floats:
    return np.random.default_rng(seed).normal(size=(num, width))


def rotation(width: int) -> Floats:
    return np.linalg.qr(drawn(9, num=width, width=width))[0]


def test_alignment_by_hand() -> None:
    """Centred: -1, 0, 1 against -1/3, -1/3, 2/3, whose squared covariance is 1, and variances 2 and 2/3."""
    first, second = (gram(np.array(one)[:, None]) for one in ([1.0, 2.0, 3.0], [0.0, 0.0, 1.0]))
    assert linear_cka(first, second, debiased=False) == pytest.approx(1.0 / (2.0 * 2.0 / 3.0))
    assert linear_cka(first, second, debiased=True) is None


def test_alignment_is_what_other_formulas_give() -> None:
    """Biased: norms of cross-covariances of features (Kornblith 2019). Unbiased: Song's traces and sums."""
    one, two = drawn(0), drawn(1) + drawn(0) @ rotation(6)[:, :3] @ np.eye(3, 6)
    first, second = (states - states.mean(axis=0) for states in (one, two))
    cross = np.linalg.norm(first.T @ second) ** 2
    expected = cross / np.linalg.norm(first.T @ first) / np.linalg.norm(second.T @ second)
    assert linear_cka(gram(one), gram(two), debiased=False) == pytest.approx(expected)

    def song(k: Floats, m: Floats) -> float:
        n, ones = len(k), np.ones(len(k))
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        sums = (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
        return float((np.trace(k @ m) + sums - 2 / (n - 2) * (ones @ k @ m @ ones)) / (n * (n - 3)))

    k, m = one @ one.T, two @ two.T
    unbiased = song(k, m) / np.sqrt(song(k, k) * song(m, m))
    assert linear_cka(gram(one), gram(two), debiased=True) == pytest.approx(unbiased)


@pytest.mark.parametrize("profile", ["released", "clean"])
def test_rotations_and_scales_change_nothing_and_the_same_model_is_one(profile: str) -> None:
    states = drawn(0)
    found = CKA().compare(rows(states), rows(states @ rotation(6) * 7.0 + 3.0), profile=profile)
    assert found.value == pytest.approx(1.0)
    assert CKA().compare(rows(states), rows(states), profile=profile).value == pytest.approx(1.0)
    stretched = CKA().compare(rows(states), rows(states * np.arange(1.0, 7.0) ** 2), profile=profile)
    assert stretched.value is not None
    assert stretched.value < 0.9


def test_what_has_nothing_in_common_is_near_one_where_it_is_biased_and_near_zero_where_not() -> None:
    one, two = drawn(0, num=20, width=400), drawn(1, num=20, width=400)
    released, clean = (CKA().compare(rows(one), rows(two), profile=name).value for name in ("released", "clean"))
    assert released is not None
    assert released > 0.9
    assert clean == pytest.approx(0.0, abs=0.2)


def test_intervals_are_those_of_subjects_left_out() -> None:
    one, two = drawn(0), drawn(0) + drawn(1)
    found = CKA().compare(rows(one), rows(two), profile="clean")
    assert found.low is not None
    assert found.high is not None
    assert found.low < (found.value or 0.0) < found.high
    assert (found.num_scored, found.num_subjects) == (30, 5)
    alone = CKA().compare(rows(one, num_subjects=1), rows(two, num_subjects=1), profile="clean")
    assert (alone.value, alone.low) == (found.value, None)


def test_neighbours_by_hand() -> None:
    """Directions at 0, 10, 20, 90 and 100 degrees: of lengths nothing is said."""
    angles = np.radians([0.0, 10.0, 20.0, 90.0, 100.0])
    states = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.array([[1.0], [5.0], [0.2], [3.0], [1.0]])
    assert neighbours(states, num=2).tolist() == [[1, 2], [0, 2], [1, 0], [4, 2], [3, 2]]
    moved = states.copy()
    moved[0] = -states[3]
    # Row 1 has row 2 and now row 3, row 2 has row 1 and row 3; row 0 lies away from all, nearest to rows 1 and 2.
    assert neighbours(moved, num=2).tolist() == [[1, 2], [2, 3], [1, 3], [4, 2], [3, 2]]
    found = KnnOverlap(k=2).compare(rows(states), rows(moved))
    assert found.value == pytest.approx((1.0 + 0.5 + 0.5 + 1.0 + 1.0) / 5)


def test_neighbours_of_a_rotated_model_are_the_same_and_of_another_as_many_as_chance_gives() -> None:
    states = drawn(0, num=200)
    assert KnnOverlap().compare(rows(states), rows(states @ rotation(6) * 3.0)).value == 1.0
    found = KnnOverlap().compare(rows(states), rows(drawn(1, num=200)))
    assert found.value == pytest.approx(5 / 199, abs=0.015)


def test_what_cannot_be_compared_is_counted_and_never_a_number() -> None:
    states = drawn(0, num=12)
    for metric in (CKA(), KnnOverlap(k=3)):
        own, other = rows(states), rows(states)
        own[0] = Sample("t", "forget", "gen", "0", "p0", "who?", "Ann.", attack="representations", attempt=0)
        found = metric.compare(own, other[:-1])
        assert (found.num_scored, found.num_unscored) == (10, 2)
        assert found.value == pytest.approx(1.0)
        assert "1 of 12 unscored: no hidden states were kept" in found.reasons
        assert "1 of 12 unscored: the other model was not asked" in found.reasons
        assert metric.compare(rows(states[:3]), rows(states[:3])).value is None
        assert metric.compare(own, []).value is None
    assert CKA().compare(rows(np.ones((6, 3))), rows(states[:6])).value is None
    with pytest.raises(UserError, match="depth=0.3 is not allowed; states are kept at 0.25, 0.5, 0.75, 1 of the depth"):
        CKA(depth=0.3)
    with pytest.raises(UserError, match="k=0"):
        KnnOverlap(k=0)
