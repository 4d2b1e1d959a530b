"""KS forget quality and membership AUC against scipy and scikit-learn, and what cannot be compared."""

from __future__ import annotations

import math

import numpy as np
import pytest
from metric_samples import prob
from scipy.stats import ks_2samp, norm
from sklearn.metrics import roc_auc_score

from mmforget.errors import UserError
from mmforget.metrics import ks_distance, ks_forget_quality, ks_log10_p, mia_auc, mia_auc_min_k
from mmforget.metrics.two_sample import Group, auc, auc_replicates, ks_distance_interval
from mmforget.statistics.jackknife import interval
from mmforget.statistics.kolmogorov_smirnov import ks_test
from mmforget.types import Sample

QUALITY, DISTANCE, LOG10 = ks_forget_quality.METRIC, ks_distance.METRIC, ks_log10_p.METRIC
AUC, AUC_MIN_K = mia_auc.METRIC, mia_auc_min_k.METRIC


def answered(log_ratios: list[float], *, per_subject: int = 20) -> list[Sample]:
    """Samples whose clean log r are these: rephrased loss 5, perturbed loss 5 + log r."""
    return [
        prob([-1.0], rephrased=[-5.0], perturbed=[[-5.0 - value]], subject=f"p{i // per_subject}", number=i)
        for i, value in enumerate(log_ratios)
    ]


def members(losses: list[float], *, prefix: str) -> list[Sample]:
    return [prob([-loss], subject=f"{prefix}{i // 5}", number=i) for i, loss in enumerate(losses)]


def test_ks_against_scipy_on_r_itself() -> None:
    generator = np.random.default_rng(0)
    mine, theirs = generator.normal(0.5, 1, 400).tolist(), generator.normal(0, 1, 400).tolist()
    wanted = ks_2samp(np.exp(mine), np.exp(theirs))
    mine_samples, their_samples = answered(mine), answered(theirs)
    assert QUALITY.compare(mine_samples, their_samples).value == pytest.approx(wanted.pvalue)
    assert DISTANCE.compare(mine_samples, their_samples).value == pytest.approx(wanted.statistic)
    assert LOG10.compare(mine_samples, their_samples).value == pytest.approx(math.log10(wanted.pvalue))


def test_ks_by_hand() -> None:
    """r of {1, 2} against {3, 4}: fully apart, D = 1; of the 6 orders of four values 2 are as extreme: p = 1/3."""
    mine = answered([math.log(1), math.log(2)], per_subject=1)
    theirs = answered([math.log(3), math.log(4)], per_subject=1)
    assert DISTANCE.compare(mine, theirs).value == 1.0
    assert QUALITY.compare(mine, theirs).value == pytest.approx(1 / 3)


def test_two_models_apart_reach_the_floor_of_400_questions() -> None:
    """Both counts 400 and D = 1: p = 1.06359e-239, the value that full separation prints in published tables."""
    mine, theirs = answered(np.linspace(1, 2, 400).tolist()), answered(np.linspace(3, 4, 400).tolist())
    assert QUALITY.compare(mine, theirs).value == pytest.approx(1.06359e-239, rel=1e-4)
    assert LOG10.compare(mine, theirs).value == pytest.approx(-238.973, abs=1e-3)


def test_a_p_below_the_smallest_float_still_has_a_logarithm() -> None:
    """n = 1000 each, D = 1: two orders of all are as extreme, p = 2 / (2000 over 1000), which underflows."""
    found = ks_test(range(1000), range(2000, 3000))
    assert found.p == 0.0
    assert found.log10_p == pytest.approx(math.log10(2) - log10_of(math.comb(2000, 1000)))


def log10_of(number: int) -> float:
    """Of a whole number too large for a float."""
    return len(str(number)) - 1 + math.log10(int(str(number)[:15]) / 10**14)


def test_equal_models_are_told_so() -> None:
    samples = answered([0.1 * k for k in range(40)])
    assert QUALITY.compare(samples, samples).value == 1.0
    assert DISTANCE.compare(samples, samples).value == 0.0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("num", [5, 7, 14, 28, 400])
def test_neighbours_are_told_so_without_a_warning(num: int) -> None:
    """D = 1 / num can be no smaller but 0, so p is 1; scipy's exact sum comes out just above that for some num."""
    found = ks_test(range(num), [k + 0.5 for k in range(num)])
    assert found.distance == pytest.approx(1 / num)
    assert found.p == pytest.approx(1.0, abs=1e-4)


def test_the_distance_interval_holds_the_distance_and_p_has_none() -> None:
    generator = np.random.default_rng(1)
    mine = answered(generator.normal(0.3, 1, 200).tolist(), per_subject=10)
    theirs = answered(generator.normal(0, 1, 200).tolist(), per_subject=10)
    found = DISTANCE.compare(mine, theirs)
    assert found.low is not None
    assert found.high is not None
    assert found.value is not None
    assert 0 <= found.low < found.value < found.high <= 1
    assert QUALITY.compare(mine, theirs).low is None


@pytest.mark.parametrize("shift", [0.0, 0.4, 1.5])
def test_the_distance_interval_covers_the_true_distance(shift: float) -> None:
    """Two models whose ratios are normal with variance 1 and share the people; the true D is 2 Phi(shift / 2) - 1."""
    generator, hits, rounds = np.random.default_rng(4), 0, 150
    subjects = np.repeat([f"p{i}" for i in range(10)], 10).tolist()
    true = 2 * norm.cdf(shift / 2) - 1
    for _ in range(rounds):
        people = np.repeat(generator.normal(0, math.sqrt(0.2), size=10), 10)
        mine, theirs = (people + generator.normal(0, math.sqrt(0.8), size=100) for _ in range(2))
        found = ks_distance_interval(Group((mine + shift).tolist(), subjects), Group(theirs.tolist(), subjects))
        hits += found.low <= true <= found.high  # type: ignore[operator]
    assert 0.91 <= hits / rounds <= 1.0


def test_models_that_are_apart_or_equal_have_a_one_sided_distance() -> None:
    values, subjects = [0.1 * k for k in range(40)], [f"p{k % 5}" for k in range(40)]
    low, high, _ = ks_distance_interval(Group(values, subjects), Group([v + 9 for v in values], subjects))
    assert (high, low is not None and 0.5 < low < 1.0) == (1.0, True)
    low, high, _ = ks_distance_interval(Group(values, subjects), Group(values, subjects))
    assert (low, high is not None and 0.0 < high < 0.3) == (0.0, True)


def test_small_distances_of_subjects_who_differ_are_covered() -> None:
    """D = 2 Phi(.125) - 1 = .10 of 40 people, 40 % of the variance theirs: chance makes the largest gap larger."""
    generator, hits, rounds = np.random.default_rng(8), 0, 150
    subjects = np.repeat([f"p{i}" for i in range(40)], 10).tolist()
    for _ in range(rounds):
        mine, theirs = (
            np.repeat(generator.normal(0, math.sqrt(0.4), size=40), 10) + generator.normal(0, math.sqrt(0.6), size=400)
            for _ in range(2)
        )
        found = ks_distance_interval(Group((mine + 0.25).tolist(), subjects), Group(theirs.tolist(), subjects))
        hits += found.low <= 2 * norm.cdf(0.125) - 1 <= found.high  # type: ignore[operator]
    assert hits / rounds >= 0.92


def test_nan_ratios_are_left_out_and_counted() -> None:
    mine = [*answered([0.1, 0.2, 0.3]), prob([-1.0], rephrased=[math.nan], perturbed=[[-1.0]], subject="p9", number=9)]
    theirs = [*answered([0.1, 0.2, 0.3]), prob([-1.0], rephrased=[-1.0], perturbed=[[-1.0]], subject="p9", number=9)]
    found = QUALITY.compare(mine, theirs)
    assert (found.num_scored, found.num_unscored) == (3, 1)
    assert found.reasons == ("1 of 4 unscored: a log-probability is not a number",)


def test_another_set_of_questions_is_refused() -> None:
    with pytest.raises(UserError, match="asked other questions"):
        QUALITY.compare(answered([0.1, 0.2, 0.3]), answered([0.1, 0.2]))


def test_no_retain_model_is_no_value() -> None:
    found = QUALITY.compare(answered([0.1, 0.2]), [])
    assert found.value is None
    assert found.reasons == ("no truth ratios of the retain model",)


def test_auc_by_hand() -> None:
    """Members score 3, 2 and non-members 2, 1: wins 1 + 1 + .5 + 1 of 4 pairs = .875."""
    assert auc([3, 2], [2, 1]) == 0.875


@pytest.mark.parametrize("metric", [AUC, AUC_MIN_K], ids=lambda metric: metric.name)
def test_auc_against_scikit_learn_with_ties(metric: mia_auc.MiaAuc | mia_auc_min_k.MiaAucMinK) -> None:
    """One token an answer, so the mean and the lowest token are the same."""
    generator = np.random.default_rng(4)
    inside, outside = generator.integers(0, 8, 60).tolist(), generator.integers(2, 10, 40).tolist()
    wanted = roc_auc_score([1] * 60 + [0] * 40, [-loss for loss in [*inside, *outside]])
    found = metric.compare(members(inside, prefix="m"), members(outside, prefix="n"))
    assert found.value == pytest.approx(wanted)
    assert found.low is not None
    assert found.high is not None
    assert found.low < wanted < found.high
    assert found.num_scored == 100


def test_min_k_auc_reads_the_lowest_fifth() -> None:
    """The two lowest of ten: a member's -4, -2 = -3, a non-member's -5, -3 = -4, though its mean is higher."""
    inside = [prob([-4.0, -2.0] + [-1.9] * 8, subject="m")]
    outside = [prob([-5.0, -3.0] + [0.0] * 8, subject="n")]
    assert AUC_MIN_K.compare(inside, outside).value == 1.0
    assert AUC.compare(inside, outside).value == 0.0


def test_equal_scores_are_chance_and_constant() -> None:
    found = AUC.compare(members([1.0] * 20, prefix="m"), members([1.0] * 20, prefix="n"))
    assert (found.value, found.constant, found.num_subjects) == (0.5, True, 4)
    assert found.low == pytest.approx(1 - found.high)  # type: ignore[operator]


def test_auc_without_each_subject_is_that_of_scikit_learn() -> None:
    positive = Group([3.0, 1.0, 2.0, 2.0], ["a", "a", "b", "c"])
    negative = Group([2.0, 0.0, 1.0], ["x", "y", "y"])
    found = auc_replicates(positive, negative)
    labels, values, owners = [1] * 4 + [0] * 3, [*positive.values, *negative.values], "aabcxyy"
    assert found.value == pytest.approx(roc_auc_score(labels, values))
    for key, num in (("0/a", 3), ("0/b", 3), ("0/c", 3), ("1/x", 2), ("1/y", 2)):
        kept = [place for place, owner in enumerate(owners) if owner != key[-1]]
        without = roc_auc_score([labels[k] for k in kept], [values[k] for k in kept])
        assert found.shifts[key] == pytest.approx((without - found.value) * math.sqrt((num - 1) / num))


def test_an_auc_hides_what_its_pairs_are_too_much_alike_to_show() -> None:
    """Of 8 answers of 4 subjects (design effect 1 + .3 x a) on each side. All pairs won, or all tied: a = 1. Half won:
    a = 0. Won, tied and lost .5, .25, .25: AUC .625, variance .625 x .375 - .25 / 4 = .171875, a = .3125."""
    owners = ["a", "a", "b", "b", "c", "c", "d", "d"]
    sides = [
        ([1.0] * 8, [0.0] * 8, 1.3),
        ([1.0] * 8, [1.0] * 8, 1.3),
        ([3.0, 0.0] * 4, [1.0] * 8, 1.0),
        ([3.0, 3.0, 1.0, 0.0] * 2, [1.0] * 8, 1.0 + 0.3 * 0.3125),
    ]
    for ours, theirs, effect in sides:
        found = auc_replicates(Group(ours, owners), Group(theirs, [name + "!" for name in owners]))
        assert found.floor == pytest.approx(2 * (effect / 8) ** 2)


def test_members_one_of_whom_is_like_the_others_are_covered() -> None:
    """16 members, each with a chance of one in ten not to be told from others: AUC .9 x Phi(3 / sqrt 2) + .05."""
    generator, hits, rounds = np.random.default_rng(9), 0, 200
    owners, truth = np.repeat(np.arange(16), 20), 0.9 * norm.cdf(3 / math.sqrt(2)) + 0.05
    for _ in range(rounds):
        ours = generator.normal(size=320) + np.repeat(np.where(generator.random(16) < 0.1, 0.0, 3.0), 20)
        inside = Group(ours.tolist(), [f"m{i}" for i in owners])
        outside = Group(generator.normal(size=320).tolist(), [f"n{i}" for i in owners])
        found = interval(auc_replicates(inside, outside), bounds=(0.0, 1.0))
        hits += found.low <= truth <= found.high  # type: ignore[operator]
    assert hits / rounds >= 0.92


def test_a_subject_on_both_sides_is_refused() -> None:
    with pytest.raises(UserError, match="members and non-members at once"):
        AUC.compare(members([1.0], prefix="m"), members([2.0], prefix="m"))


def test_one_subject_has_no_interval() -> None:
    found = AUC.compare(members([1.0, 2.0], prefix="m"), members([2.0, 3.0], prefix="n"))
    assert (found.low, found.high) == (None, None)
    assert found.reasons == ("no interval: too few subjects (1; at least 4 are needed)",)
