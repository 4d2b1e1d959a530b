"""Bootstrap by subject, ranks with ties, and the mean estimate."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau

from mmforget.metrics import bootstrap, rouge_l
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.rank import is_constant, rank_correlation, ranks
from mmforget.types import Score


def test_mean_draws_equal_a_plain_loop() -> None:
    """Subjects of unequal size: a drawn subject brings all its values, so the mean is of values, not of subjects."""
    values, subjects = [1.0, 2.0, 3.0, 10.0], ["a", "a", "a", "b"]
    draws = bootstrap.mean_draws(values, subjects, num_resamples=100, seed=3)
    counts = np.random.default_rng(3).multinomial(2, [0.5, 0.5], size=100)
    wanted = [np.mean([1.0, 2.0, 3.0] * a + [10.0] * b) for a, b in counts]
    np.testing.assert_allclose(draws, wanted)


def test_a_subject_drawn_twice_brings_all_its_values_twice() -> None:
    """Every draw equals the mean over the values of its subjects, written out."""
    values = np.random.default_rng(0).normal(size=30)
    codes = np.arange(30) % 6
    counts = bootstrap.resample_counts(6, num_resamples=200).astype(int)
    written_out = [np.repeat(values, drawn[codes]).mean() for drawn in counts]
    means = bootstrap.mean_draws(values.tolist(), [f"s{code}" for code in codes], num_resamples=200)
    np.testing.assert_allclose(means, written_out)


def test_the_interval_is_seeded() -> None:
    values, subjects = [0.0, 1.0, 0.5, 0.25], ["a", "b", "c", "d"]
    assert bootstrap.mean_interval(values, subjects) == bootstrap.mean_interval(values, subjects)


def test_the_order_of_rows_does_not_matter() -> None:
    values, subjects = [0.0, 1.0, 0.5, 0.25], ["a", "b", "c", "b"]
    turned = bootstrap.mean_interval(values[::-1], subjects[::-1])
    assert turned == pytest.approx(bootstrap.mean_interval(values, subjects))


def test_clustering_widens_the_interval() -> None:
    """Ten subjects of twenty equal answers know as much as ten answers, not two hundred."""
    values = [float(i // 20 % 2) for i in range(200)]
    clustered = bootstrap.mean_interval(values, [f"s{i // 20}" for i in range(200)])
    alone = bootstrap.mean_interval(values, [f"s{i}" for i in range(200)])
    assert clustered.high - clustered.low > 3 * (alone.high - alone.low)  # type: ignore[operator]


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """300 samples of 40 subjects with a shared effect: a 95 % interval should hold 0 in 95 % of them, give or take."""
    generator = np.random.default_rng(11)
    subjects = [f"s{i // 5}" for i in range(200)]
    hits = 0
    for _ in range(300):
        values = np.repeat(generator.normal(size=40), 5) + generator.normal(size=200)
        found = bootstrap.percentile_interval(bootstrap.mean_draws(values.tolist(), subjects, num_resamples=400))
        hits += found.low <= 0 <= found.high  # type: ignore[operator]
    assert 0.90 <= hits / 300 <= 0.98


def test_one_subject_and_no_values_have_no_interval() -> None:
    for values, subjects in ([0.1, 0.9], ["a", "a"]), ([], []):
        assert bootstrap.mean_interval(values, subjects) == (None, None, bootstrap.ONE_SUBJECT)


def test_paired_difference_by_hand() -> None:
    """Differences .5, .5, .5 and one pair without a score: value .5, no width, three pairs."""
    found = bootstrap.paired_difference([0.5, 0.9, 1.0, None], [0.0, 0.4, 0.5, 0.1], subjects=["a", "b", "c", "d"])
    assert found[:4] == pytest.approx((0.5, 0.5, 0.5, 3))


def test_a_pair_is_narrower_than_its_parts() -> None:
    generator = np.random.default_rng(5)
    first = generator.uniform(size=60)
    second = first - 0.1 + generator.normal(scale=0.01, size=60)
    subjects = [f"s{i}" for i in range(60)]
    paired = bootstrap.paired_difference(first.tolist(), second.tolist(), subjects=subjects)
    alone = bootstrap.mean_interval(first.tolist(), subjects)
    assert paired.high - paired.low < (alone.high - alone.low) / 5  # type: ignore[operator]


def test_no_common_scores_is_no_difference() -> None:
    found = bootstrap.paired_difference([None, 1.0], [1.0, None], subjects=["a", "b"])
    assert (found.value, found.num_pairs) == (None, 0)


def test_unaligned_sequences_are_refused() -> None:
    with pytest.raises(ValueError, match="argument 2 is longer"):
        bootstrap.paired_difference([1.0], [1.0, 2.0], subjects=["a", "b"])


def test_ranks_share_places_where_scores_are_equal() -> None:
    """.9 first, .5 and .5 share places 2 and 3, no score has no place."""
    values = {"a": 0.5, "b": 0.9, "c": 0.5, "d": None, "e": float("nan")}
    assert ranks(values, higher_is_better=True) == {"a": 2.5, "b": 1.0, "c": 2.5, "d": None, "e": None}
    assert ranks({"a": 0.5, "b": 0.9}, higher_is_better=False) == {"a": 1.0, "b": 2.0}
    assert ranks({}, higher_is_better=True) == {}


def test_rank_correlation_knows_ties_and_constants() -> None:
    first, second = [1.0, 2.0, 2.0, 4.0], [1.0, 3.0, 2.0, 2.0]
    assert rank_correlation(first, second).value == pytest.approx(kendalltau(first, second, variant="b").statistic)
    assert rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]).reason == "all values are the same"
    assert rank_correlation([1.0, None], [1.0, 2.0]).value is None


def test_constant() -> None:
    assert is_constant([0.3, 0.1 + 0.2])
    assert is_constant([float("inf")] * 2)
    assert not is_constant([0.3, 0.4])
    assert not is_constant([0.3])


def test_mean_estimate_reports_constants_and_reasons() -> None:
    scores = [Score(0.5, "a"), Score(0.5, "b"), Score(None, "c", "no keywords"), Score(None, "c", "no keywords")]
    found = mean_estimate(rouge_l.METRIC, scores)
    assert (found.value, found.low, found.high, found.constant) == (0.5, 0.5, 0.5, True)
    assert (found.num_scored, found.num_unscored) == (2, 2)
    assert found.reasons == ("2 of 4 unscored: no keywords",)
