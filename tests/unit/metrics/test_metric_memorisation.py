"""Exact memorisation and extraction strength on answers worked by hand, and beside plain loops on random ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from metric_samples import prob

from mmforget.metrics import exact_memorisation, extraction_strength
from mmforget.types import IS_BEST, Sample

EXACT, STRENGTH = exact_memorisation.METRIC, extraction_strength.METRIC


def answered(best: Sequence[int], *, number: int = 0) -> Sample:
    """An answer whose tokens are the most likely ones where `best` is 1."""
    sample = prob([-0.5] * len(best), number=number)
    return replace(sample, token_values={IS_BEST: {"answer": tuple(map(float, best))}})


@pytest.mark.parametrize(
    ("best", "clean", "coded"),
    [
        ((1, 1, 1, 1), 1.0, 1.0),
        ((0, 0, 0, 0), 0.0, 0.0),
        ((1, 0, 1, 1), 3 / 4, 2 / 3),
        ((1, 1, 1, 0), 3 / 4, 1.0),
        ((1,), 1.0, None),
        ((), None, None),
    ],
)
def test_exact_memorisation_by_hand(best: tuple[int, ...], clean: float | None, coded: float | None) -> None:
    """Share of ones; OpenUnlearning's is without the last token, and nothing where that was all."""
    assert EXACT.score(answered(best)).value == clean
    assert EXACT.score(answered(best), profile="openunlearning").value == coded


@pytest.mark.parametrize(
    ("best", "clean", "coded"),
    [
        ((1, 1, 1, 1), 1.0, 1.0),
        ((0, 1, 1, 1), 3 / 4, 2 / 3),
        ((1, 0, 1, 1), 2 / 4, 1 / 3),
        ((1, 1, 1, 0), 0.0, 1.0),
        ((1, 1, 0, 1), 1 / 4, 1 / 3),
        ((0, 0, 0, 0), 0.0, 1 / 3),
        ((0,), 0.0, 0.0),
        ((), None, 0.0),
    ],
)
def test_extraction_strength_by_hand(best: tuple[int, ...], clean: float | None, coded: float | None) -> None:
    """Right tokens at the end over all; as coded the last token is dropped, none right is 1/L, and no token is 0."""
    assert STRENGTH.score(answered(best)).value == clean
    if best:
        assert STRENGTH.score(answered(best), profile="openunlearning").value == coded


def test_both_equal_plain_loops_on_random_answers() -> None:
    """As OpenUnlearning describes it: k is the first index from which all is right, searched up to L - 1."""
    generator = np.random.default_rng(0)
    for _ in range(200):
        best = [int(value) for value in generator.random(generator.integers(2, 12)) < generator.choice([0.2, 0.8])]
        kept = best[:-1]
        exact = sum(kept) / len(kept)
        k = next((k for k in range(len(kept)) if all(kept[k:])), len(kept) - 1)
        clean = next((k for k in range(len(best)) if all(best[k:])), len(best))
        sample = answered(best)
        assert EXACT.score(sample, profile="openunlearning").value == pytest.approx(exact)
        assert STRENGTH.score(sample, profile="openunlearning").value == pytest.approx(1 - k / len(kept))
        assert STRENGTH.score(sample).value == pytest.approx(1 - clean / len(best))


def test_without_what_says_which_tokens_are_best_there_is_no_score() -> None:
    found = EXACT.score(prob([-0.5, -0.5]))
    assert found.value is None
    assert found.reason == "nothing says which tokens are the most likely ones"


def test_a_log_prob_that_is_no_number_is_unscored() -> None:
    sample = replace(prob([float("nan"), -0.5]), token_values={IS_BEST: {"answer": (1.0, 1.0)}})
    for metric in (EXACT, STRENGTH):
        for profile in metric.profiles:
            assert metric.score(sample, profile=profile).value is None
