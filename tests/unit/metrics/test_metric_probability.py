"""Probability, truth ratio and Min-K on three-token answers worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from metric_samples import prob

from mmforget.metrics import (
    min_k,
    probability,
    probability_normalised,
    truth_ratio,
    truth_ratio_retain,
    truth_ratio_share,
)
from mmforget.types import Score

PROBABILITY, SHARE = probability.METRIC, probability_normalised.METRIC
NEAR, BETTER, MIN_K = truth_ratio.METRIC, truth_ratio_retain.METRIC, min_k.METRIC
HALF, EIGHTH = math.log(1 / 2), math.log(1 / 8)


def test_probability_by_hand() -> None:
    """Token probabilities 1/2, 1/2, 1/8: product 2^-5; clean 2^(-5/3), released 2^(-5/4)."""
    sample = prob([HALF, HALF, EIGHTH])
    assert PROBABILITY.score(sample).value == pytest.approx(2 ** (-5 / 3))
    assert PROBABILITY.score(sample, profile="released").value == pytest.approx(2 ** (-5 / 4))


def test_probability_normalised_by_hand() -> None:
    """One token each, true 1/2 against 1/8 and 1/8: clean .5/.75, released of square roots .7071/1.4142."""
    sample = prob([HALF], perturbed=[[EIGHTH], [EIGHTH]])
    assert SHARE.score(sample).value == pytest.approx(2 / 3)
    assert SHARE.score(sample, profile="released").value == pytest.approx(0.5)


def test_truth_ratio_by_hand() -> None:
    """Rephrased loss log 2, perturbed losses log 2 and log 8, mean log 4: r = 2. min(r, 1/r) = .5, max(0, 1-1/r) = .5.

    Released halves every one-token loss: r = sqrt 2, so .7071 and .2929.
    """
    sample = prob([HALF], rephrased=[HALF], perturbed=[[HALF], [EIGHTH]])
    assert NEAR.score(sample).value == pytest.approx(0.5)
    assert BETTER.score(sample).value == pytest.approx(0.5)
    assert NEAR.score(sample, profile="released").value == pytest.approx(1 / math.sqrt(2))
    assert BETTER.score(sample, profile="released").value == pytest.approx(1 - 1 / math.sqrt(2))


def test_truth_ratio_of_a_model_that_prefers_falsehood() -> None:
    """Rephrased loss log 8, perturbed log 2: r = 1/4. Near = 1/4 as well, and no preference for truth = 0."""
    sample = prob([HALF], rephrased=[EIGHTH], perturbed=[[HALF]])
    assert NEAR.score(sample).value == pytest.approx(0.25)
    assert BETTER.score(sample).value == 0.0


def test_truth_ratio_is_geometric_over_perturbed_answers() -> None:
    """The arithmetic mean of 1/2 and 1/8 is 5/16, a ratio of 8/5 with 1/2; the geometric mean 1/4 gives 2."""
    sample = prob([HALF], rephrased=[HALF], perturbed=[[HALF], [EIGHTH]])
    assert 1 / (NEAR.score(sample).value or 0.0) == pytest.approx(2.0)


def test_truth_ratio_equals_the_written_formula_on_random_losses() -> None:
    generator = np.random.default_rng(3)
    for _ in range(50):
        lengths = generator.integers(1, 9, size=4)
        para, *pert = [(-generator.gamma(1.0, 2.0, size=n)).tolist() for n in lengths]
        r = math.exp(np.mean([-np.mean(tokens) for tokens in pert]) + np.mean(para))
        sample = prob(para, rephrased=para, perturbed=pert)
        assert NEAR.score(sample).value == pytest.approx(min(r, 1 / r))
        assert BETTER.score(sample).value == pytest.approx(max(0.0, 1 - 1 / r))


def test_extreme_losses_do_not_overflow() -> None:
    """Losses of 2000 nats, where exp(2000) is no float, and of infinity."""
    sure = prob([-2000.0], rephrased=[-1e-9], perturbed=[[-2000.0]])
    assert (NEAR.score(sure).value, BETTER.score(sure).value) == (0.0, 1.0)
    false = prob([-math.inf], rephrased=[-math.inf], perturbed=[[-1.0]])
    assert (NEAR.score(false).value, BETTER.score(false).value) == (0.0, 0.0)
    assert PROBABILITY.score(false).value == 0.0
    assert SHARE.score(prob([-2000.0], perturbed=[[-2000.0 + HALF]])).value == pytest.approx(2 / 3)
    both = prob([-1.0], rephrased=[-math.inf], perturbed=[[-math.inf]])
    assert NEAR.score(both).reason == "true and perturbed answers are both impossible"
    assert SHARE.score(prob([-math.inf], perturbed=[[-math.inf]])).reason == "all candidates are impossible"


def test_a_log_prob_rounded_above_zero_keeps_the_range() -> None:
    assert PROBABILITY.score(prob([1e-7])).value == 1.0
    assert MIN_K.score(prob([1e-7] * 10)).value == 1.0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_log_probs_that_are_no_numbers_are_unscored(bad: float) -> None:
    sample = prob([HALF, bad], rephrased=[HALF, bad], perturbed=[[bad]])
    for metric in (PROBABILITY, SHARE, NEAR, BETTER, MIN_K):
        assert metric.score(sample) == Score(None, "ann", "a log-probability is not a number")


def test_missing_candidates_are_named() -> None:
    assert NEAR.score(prob([HALF], perturbed=[[HALF]])).reason == "no log-probs for 'rephrased'"
    assert SHARE.score(prob([HALF])).reason == "no log-probs for 'perturbed'"


def test_a_model_without_any_log_prob_is_no_lack_of_the_row() -> None:
    """Else a model that gives none would drop its probability and truth ratio from utility, and gain by it."""
    for metric in (SHARE, NEAR, BETTER):
        assert metric.score(prob([HALF])).lacking
        assert metric.score(prob()) == Score(None, "ann", metric.score(prob()).reason, lacking=False)


def test_min_k_by_hand() -> None:
    """Ten tokens, the lowest log 1/2 and nine of log 1: k = 1..5, exp(mean) = 2^-1, 2^-1/2, 2^-1/3, 2^-1/4, 2^-1/5."""
    sample = prob([0.0] * 4 + [HALF] + [0.0] * 5)
    wanted = sum(w * 2 ** (-1 / k) for k, w in enumerate((0.3, 0.3, 0.2, 0.1, 0.1), start=1))
    assert MIN_K.score(sample).value == pytest.approx(wanted)
    assert MIN_K.score(sample, profile="released").value == pytest.approx(wanted)


@pytest.mark.parametrize("length, cap", [(1, 0.0), (2, 0.1), (3, 0.2), (4, 0.4), (5, 0.7), (9, 0.7), (10, 1.0)])
def test_released_min_k_is_capped_by_length(length: int, cap: float) -> None:
    """A perfectly known answer: k = 0 terms drop, weights stay. Clean reaches 1, one token is unscored."""
    sample = prob([0.0] * length)
    assert MIN_K.score(sample, profile="released").value == pytest.approx(cap)
    assert MIN_K.score(sample).value == (None if length == 1 else pytest.approx(1.0))


def test_whole_tenths_select_as_many_tokens_as_the_official_floor() -> None:
    for length in range(1, 3000):
        official = [int(rho * length) for rho in (0.1, 0.2, 0.3, 0.4, 0.5)]
        assert [length * tenths // 10 for tenths in min_k.TENTHS] == official


def test_the_named_profiles_divide_by_all_tokens() -> None:
    """As clean, by hand above: 2^(-5/3), 2/3, and a truth ratio of 2."""
    scored = {name: PROBABILITY.score(prob([HALF, HALF, EIGHTH]), profile=name).value for name in PROBABILITY.profiles}
    assert scored["tofu_paper"] == scored["openunlearning"] == pytest.approx(2 ** (-5 / 3))
    sample = prob([HALF], rephrased=[HALF], perturbed=[[HALF], [EIGHTH]])
    for profile in ("tofu_paper", "openunlearning"):
        assert NEAR.score(sample, profile=profile).value == pytest.approx(0.5)
        assert BETTER.score(sample, profile=profile).value == pytest.approx(0.5)
        assert SHARE.score(sample, profile=profile).value == pytest.approx(0.5 / (0.5 + 0.5 + 0.125))


def test_the_arithmetic_mean_of_wrong_answers_by_hand() -> None:
    """Mean of 1/2 and 1/8 is 5/16, over 1/2 is 5/8: near 5/8, better 3/8."""
    sample = prob([HALF], rephrased=[HALF], perturbed=[[HALF], [EIGHTH]])
    assert truth_ratio.TruthRatio(mean="arithmetic").score(sample).value == pytest.approx(5 / 8)
    assert truth_ratio_retain.TruthRatioRetain(mean="arithmetic").score(sample).value == pytest.approx(3 / 8)


def test_the_epsilon_of_openunlearning_counts_where_answers_are_all_but_impossible() -> None:
    """Rephrased and perturbed at 1e-12: R = 1e-12 / 1.01e-10; near R, better 1 - R, a share of 1e-12 / 1.02e-10."""
    tiny = math.log(1e-12)
    sample, ratio = prob([tiny], rephrased=[tiny], perturbed=[[tiny]]), 1e-12 / (1e-12 + 1e-10)
    assert NEAR.score(sample, profile="openunlearning").value == pytest.approx(ratio)
    assert BETTER.score(sample, profile="openunlearning").value == pytest.approx(1 - ratio)
    assert SHARE.score(sample, profile="openunlearning").value == pytest.approx(1e-12 / 1.02e-10)
    assert (NEAR.score(sample).value, BETTER.score(sample).value) == (pytest.approx(1.0), 0.0)


def test_truth_ratio_as_a_share_by_hand() -> None:
    """1/2 against a geometric mean of 1/4: 2/3; both at 1e-12: 1/2, and 1e-12 / 1.02e-10 with the epsilon."""
    metric, tiny = truth_ratio_share.METRIC, math.log(1e-12)
    assert metric.score(prob([HALF], rephrased=[HALF], perturbed=[[HALF], [EIGHTH]])).value == pytest.approx(2 / 3)
    sample = prob([tiny], rephrased=[tiny], perturbed=[[tiny]])
    assert metric.score(sample).value == pytest.approx(0.5)
    assert metric.score(sample, profile="openunlearning").value == pytest.approx(1e-12 / 1.02e-10)
    assert metric.score(prob([HALF], rephrased=[-1e4], perturbed=[[-1.0]])).value == 0.0
