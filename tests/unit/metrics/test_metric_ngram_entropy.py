"""Entropy of pairs and triples of words, by hand and beside scipy."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from metric_samples import gen
from scipy.stats import entropy

from mmforget.metrics.ngram_entropy import METRIC


def test_by_hand() -> None:
    """`a b a b`: pairs ab, ba, ab: H2 = log2 3 - 2/3; triples aba, bab: H3 = 1; (2/3 H2 + 4/3) / 2."""
    expected = (2 / 3 * (np.log2(3) - 2 / 3) + 4 / 3) / 2
    assert METRIC.score(gen("A b, a b!")).value == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "one", "la la la la la la"])
def test_a_loop_and_nothing_are_zero(text: str) -> None:
    assert METRIC.score(gen(text)).value == pytest.approx(0.0)


def test_random_text_is_as_scipy_has_it() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        words = [f"w{value}" for value in generator.integers(0, 9, size=generator.integers(3, 80))]
        bits = [
            entropy(list(Counter(zip(*(words[i:] for i in range(n)), strict=False)).values()), base=2) for n in (2, 3)
        ]
        assert METRIC.score(gen(" ".join(words))).value == pytest.approx((2 / 3 * bits[0] + 4 / 3 * bits[1]) / 2)
