"""The exact KS test: against every order, against big integers, against scipy, where p underflows, and with ties."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from metric_samples import prob
from scipy.stats import ks_2samp

from mmforget.metrics import ks_distance, ks_log10_p, mia_auc
from mmforget.statistics.kolmogorov_smirnov import LOG10_FLOOR, ks_test, tied
from mmforget.types import Sample


def log10_of(share: Fraction) -> float:
    with localcontext() as context:
        context.prec = 40
        return float((Decimal(share.numerator) / Decimal(share.denominator)).log10())


def share_of_equal_sizes(num: int, *, steps: int) -> Fraction:
    """p of D = steps / num for two samples of num values each, by the reflection principle (Gnedenko and Korolyuk):
    2 sum over j >= 1 of (-1)^(j + 1) (2 num over num - j steps), over (2 num over num).
    """
    terms = [(-1) ** (j + 1) * math.comb(2 * num, num - j * steps) for j in range(1, num // steps + 1)]
    return Fraction(2 * sum(terms), math.comb(2 * num, num))


def apart(num: int, *, steps: int) -> tuple[list[float], list[float]]:
    """Two samples with D = steps / num: so many values of the first lie below all of the second."""
    first = [-1.0 - k for k in range(steps)] + [k + 0.25 for k in range(num - steps)]
    return first, [float(k) for k in range(num)]


@pytest.mark.parametrize(
    "num, steps", [(4, 1), (4, 4), (10, 3), (40, 12), (400, 140), (400, 400), (800, 720), (800, 800), (1000, 1000)]
)
def test_logarithm_equals_that_of_whole_numbers(num: int, steps: int) -> None:
    first, second = apart(num, steps=steps)
    found = ks_test(first, second)
    assert found.distance == pytest.approx(steps / num)
    assert found.log10_p == pytest.approx(log10_of(share_of_equal_sizes(num, steps=steps)), rel=1e-12, abs=1e-12)


def test_the_published_sizes_keep_their_order_where_p_underflows() -> None:
    """800 questions each: D = .9 is -343, D = 1 is -480; every further step makes p smaller."""
    logs = [ks_test(*apart(800, steps=steps)).log10_p for steps in range(700, 801, 20)]
    assert logs[-1] == pytest.approx(-479.647, abs=1e-3)
    assert logs[1] == pytest.approx(-343.044, abs=1e-3)
    assert all(after < before for before, after in itertools.pairwise(logs))


@pytest.mark.parametrize("num_first, num_second", [(1, 1), (1, 4), (3, 2), (4, 6), (5, 5)])
def test_p_is_the_share_of_orders_that_are_as_far_apart(num_first: int, num_second: int) -> None:
    total = num_first + num_second
    orders = list(itertools.combinations(range(total), num_first))

    def gap(order: Sequence[int]) -> Fraction:
        mine = [sum(place <= at for place in order) for at in range(total)]
        return max(abs(Fraction(m, num_first) - Fraction(at + 1 - m, num_second)) for at, m in enumerate(mine))

    gaps = [gap(order) for order in orders]
    for order, own in zip(orders, gaps, strict=True):
        others = [at for at in range(total) if at not in order]
        found = ks_test(order, others)
        wanted = Fraction(sum(one >= own for one in gaps), len(gaps))
        assert found.distance == pytest.approx(float(own))
        assert found.p == pytest.approx(float(wanted))


@pytest.mark.parametrize("num_first, num_second", [(7, 5), (30, 45), (100, 83), (400, 399), (3, 90)])
@pytest.mark.parametrize("shift", [0.0, 0.6, 2.0])
def test_p_equals_the_exact_one_of_scipy(num_first: int, num_second: int, shift: float) -> None:
    generator = np.random.default_rng(num_first)
    first, second = generator.normal(shift, 1, num_first).round(2), generator.normal(0, 1, num_second).round(2)
    wanted = ks_2samp(first, second, method="exact")
    found = ks_test(first.tolist(), second.tolist())
    assert found.distance == pytest.approx(wanted.statistic)
    assert found.p == pytest.approx(wanted.pvalue, rel=1e-6)


def test_beyond_ten_thousand_values_it_is_asymptotic_finite_and_falls() -> None:
    logs = []
    for shift in (0, 4000, 9000, 10_500, 11_000):
        found = ks_test(range(11_000), [value + shift + 0.5 for value in range(11_000)])
        assert LOG10_FLOOR <= found.log10_p <= 0.0
        logs.append(found.log10_p)
    assert all(after < before for before, after in itertools.pairwise(logs))


def test_ties_are_near_each_other_and_no_border_cuts_them() -> None:
    inf = math.inf
    noisy = [0.3, 0.3 + 4e-10, 0.3 - 4e-10, 5e-7, -5e-7, 2.0, inf, -inf, 1e9, 1e9 + 1]
    found = tied(noisy[:5], noisy[5:])
    assert len({*found[0][:3]}) == 1
    assert found[0][3] == found[0][4]
    assert found[1][:3] == [2.0, inf, -inf]
    assert found[1][3] == found[1][4]
    assert tied([0.1, 0.2], []) == [[0.1, 0.2], []]


def same(value: float, *, noise: float, prefix: str = "p") -> list[Sample]:
    """Forty questions that a model answers alike, but for noise on every other one."""
    ratios = [value + noise * (number % 2) for number in range(40)]
    return [
        prob([-1.0 - ratio], rephrased=[-1.0], perturbed=[[-1.0 - ratio]], subject=f"{prefix}{i // 5}", number=i)
        for i, ratio in enumerate(ratios)
    ]


def test_float_noise_on_equal_values_is_no_distance() -> None:
    """Unrounded, 1e-9 on half of the values makes D = .5 and p = 5e-5, and an attack that tells half of them."""
    clean, noisy = same(0.5, noise=0.0), same(0.5, noise=1e-9)
    assert ks_2samp([0.5] * 40, [0.5, 0.5 + 1e-9] * 20).statistic == 0.5
    assert ks_distance.METRIC.compare(noisy, clean).value == 0.0
    assert ks_log10_p.METRIC.compare(noisy, clean).value == 0.0
    assert mia_auc.METRIC.compare(noisy, same(0.5, noise=0.0, prefix="q")).value == 0.5
    assert ks_distance.METRIC.compare(same(0.5, noise=1e-3), clean).value == 0.5


@pytest.mark.parametrize("profile", ["clean", "tofu_paper", "openunlearning"])
def test_models_wholly_apart_are_told_to_be_at_the_floor(profile: str) -> None:
    """Ten questions: 2 / C(20, 10) is 10^-5."""
    one = [prob([-1.0], rephrased=[-1.0 - n / 100], perturbed=[[-3.0]], number=n) for n in range(10)]
    other = [prob([-1.0], rephrased=[-5.0 - n / 100], perturbed=[[-3.0]], number=n) for n in range(10)]
    found = ks_log10_p.METRIC.compare(one, other, profile=profile)
    assert found.value == pytest.approx(math.log10(2 / math.comb(20, 10)))
    assert any(
        reason.startswith("wholly apart: p is the floor of 10 and 10 questions, 10^-5.0") for reason in found.reasons
    )
    assert ks_log10_p.METRIC.compare(one, one, profile=profile).reasons == ()
