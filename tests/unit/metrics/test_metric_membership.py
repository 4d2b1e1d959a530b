"""Membership scores by hand, their AUC as scikit-learn computes it, and PrivLeak beside the written formula."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from metric_samples import prob
from sklearn.metrics import roc_auc_score, roc_curve

from mmforget.errors import UserError
from mmforget.metrics import (
    mia_auc,
    mia_auc_grad_norm,
    mia_auc_min_k,
    mia_auc_min_k_pp,
    mia_auc_recall,
    mia_auc_reference,
    mia_auc_zlib,
    mia_tpr,
    privleak,
    relative_difference,
)
from mmforget.metrics.membership import min_k_pp_score, min_k_score, recall_score, reference_score, zlib_score
from mmforget.types import Sample


def group(name: str, *, num: int, shift: float, seed: int) -> list[Sample]:
    """Answers of 3 to 14 tokens of `num` subjects, with entropy, variance and the retain model's log-probs."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(num):
        size = int(generator.integers(3, 15))
        draws = [-generator.gamma(1.0, 1.0 + shift, size) for _ in range(2)]
        sample = prob(draws[0].tolist(), subject=f"{name}{number}", number=number)
        sample = replace(
            sample,
            answer=f"{name} {number} " * (1 + number % 4),
            token_logprobs={**sample.token_logprobs, "reference/answer": tuple(draws[1].tolist())},
            token_values={
                "entropy": {"answer": tuple(generator.uniform(0.5, 3.0, size).tolist())},
                "variance": {"answer": tuple(generator.uniform(0.0, 2.0, size).tolist())},
            },
        )
        found.append(sample)
    return found


MEMBERS, OTHERS = group("in", num=25, shift=0.0, seed=1), group("out", num=20, shift=0.7, seed=2)


def own(sample: Sample) -> np.ndarray:
    return np.array(sample.token_logprobs["answer"])


def lowest(values: np.ndarray, percent: int) -> float:
    return float(np.mean(sorted(values)[: max(1, int(len(values) * percent / 100))]))


def in_deviations(sample: Sample) -> np.ndarray:
    entropy, variance = (np.array(sample.token_values[name]["answer"]) for name in ("entropy", "variance"))
    return (own(sample) + entropy) / np.sqrt(np.clip(variance, 1e-6, None))


CODED: list[tuple[Any, Callable[[Sample], float]]] = [
    (mia_auc.METRIC, lambda s: float(own(s).mean())),
    (mia_auc_zlib.METRIC, lambda s: float(own(s).mean()) / len(zlib.compress(s.answer.encode()))),
    (mia_auc_min_k.MiaAucMinK(percent=40), lambda s: lowest(own(s)[:-1], 40)),
    (mia_auc_min_k_pp.MiaAucMinKPP(percent=40), lambda s: lowest(in_deviations(s)[:-1], 40)),
    (
        mia_auc_reference.METRIC,
        lambda s: float(own(s).mean() - np.mean(s.token_logprobs["reference/answer"])),
    ),
]


@pytest.mark.parametrize(("metric", "score"), CODED, ids=[one.name for one, _ in CODED])
def test_auc_is_that_of_scikit_learn_with_openunlearnings_labels(metric: Any, score: Callable[[Sample], float]) -> None:
    """There forget is class 0 and holdout class 1, and scores are the negated ones."""
    scores = [-score(sample) for sample in (*MEMBERS, *OTHERS)]
    expected = roc_auc_score([0] * len(MEMBERS) + [1] * len(OTHERS), scores)
    found = metric.compare(MEMBERS, OTHERS, profile="openunlearning")
    assert found.value == pytest.approx(expected)
    assert found.low is not None
    assert found.low < found.value < found.high


def test_zlib_by_hand() -> None:
    """Mean log-prob -2 over the bytes of the text under zlib."""
    sample = prob([-1.0, -3.0])
    assert zlib_score(sample).value == pytest.approx(-2.0 / len(zlib.compress(b"she lives in oslo.")))


def test_min_k_plus_plus_by_hand() -> None:
    """log p -1, -4, -2 with mean -2 (entropy 2) and variance 4, 1, 4: z = .5, -2, 0; lowest two of three: -1."""
    values = {"entropy": {"answer": (2.0, 2.0, 2.0)}, "variance": {"answer": (4.0, 1.0, 4.0)}}
    sample = replace(prob([-1.0, -4.0, -2.0]), token_values=values)
    assert min_k_pp_score(sample, percent=67, profile="clean").value == pytest.approx(-1.0)
    assert min_k_pp_score(sample, percent=10, profile="clean").value == pytest.approx(-2.0)
    assert min_k_pp_score(sample, percent=50, profile="openunlearning").value == pytest.approx(-2.0)


def test_a_distribution_without_spread_does_not_divide_by_zero() -> None:
    values = {"entropy": {"answer": (0.0,)}, "variance": {"answer": (0.0,)}}
    sample = replace(prob([-0.5]), token_values=values)
    assert min_k_pp_score(sample, percent=20, profile="clean").value == pytest.approx(-0.5 / math.sqrt(1e-6))


def test_min_k_of_muse_has_no_least_token() -> None:
    """Of two tokens 40 % are none: unscored there, the lowest one elsewhere, and of the first alone as coded."""
    sample = prob([-1.0, -3.0])
    muse, clean, coded = (
        min_k_score(sample, percent=40, profile=profile) for profile in ("muse_paper", "clean", "openunlearning")
    )
    assert muse.value is None
    assert muse.lacking
    assert (clean.value, coded.value) == (-3.0, -1.0)


def test_without_statistics_or_reference_there_is_no_score_and_a_reason() -> None:
    assert min_k_pp_score(prob([-1.0]), percent=20, profile="clean").reason == "no entropy of the answer's tokens"
    assert reference_score(prob([-1.0])).reason == "reference: no answer tokens"


@pytest.mark.parametrize("fpr", [0.05, 0.1, 0.3])
def test_true_positive_rate_is_the_best_of_scikit_learns_curve(fpr: float) -> None:
    metric = mia_tpr.MiaTPR(fpr=fpr)
    scores = [float(own(sample).mean()) for sample in (*MEMBERS, *OTHERS)]
    false, true, _ = roc_curve([1] * len(MEMBERS) + [0] * len(OTHERS), scores, drop_intermediate=False)
    found = metric.compare(MEMBERS, OTHERS)
    assert found.value == pytest.approx(true[false <= fpr + 1e-12].max())
    assert found.low <= found.value <= found.high


def test_true_positive_rate_by_hand() -> None:
    """Non-members at -1, -2, -3, -4: a quarter of them may lie above, so the threshold is -2, and of members at -0.5,
    -1.5, -2, -9 two lie above it. Below a quarter none may lie above -1, where one member is."""
    members = [prob([value], subject=f"m{value}") for value in (-0.5, -1.5, -2.0, -9.0)]
    others = [prob([value], subject=f"o{value}") for value in (-1.0, -2.0, -3.0, -4.0)]
    assert mia_tpr.MiaTPR(fpr=0.25).compare(members, others).value == 0.5
    assert mia_tpr.MiaTPR(fpr=0.2).compare(members, others).value == 0.25


def test_what_a_rate_cannot_be_is_said() -> None:
    with pytest.raises(UserError, match="fpr is 1.5; give a number above 0 and below 1"):
        mia_tpr.MiaTPR(fpr=1.5)
    with pytest.raises(UserError, match="retrained is 2.0"):
        privleak.PrivLeak(retrained=2.0)


@pytest.mark.parametrize(
    ("profile", "least", "drops", "added"), [("openunlearning", 1, True, 1e-10), ("clean", 1, False, 0.0)]
)
def test_privleak_is_the_written_formula(profile: str, least: int, drops: bool, added: float) -> None:
    def area(role: str) -> float:
        scores = []
        for sample in (*MEMBERS, *OTHERS):
            values = np.array(sample.token_logprobs[role])
            values = values[:-1] if drops else values
            scores.append(np.mean(sorted(values)[: max(least, int(len(values) * 0.4))]))
        return float(roc_auc_score([1] * len(MEMBERS) + [0] * len(OTHERS), scores))

    a, r = 1 - area("answer"), 1 - area("reference/answer")
    found = privleak.METRIC.compare(MEMBERS, OTHERS, profile=profile)
    assert found.value == pytest.approx((a - r) / (r + added) * 100)
    assert found.low is not None
    assert found.low < found.value < found.high


def test_privleak_by_hand() -> None:
    """All members above all others: a = 0, so -100 whatever r is, here MUSE's .4772; all below: a = 1."""
    tokens = ([-1.0] * 3, [-2.0] * 3)
    high, low = (
        [prob(values, subject=f"{name}{i}") for i in range(4)] for name, values in zip("ab", tokens, strict=True)
    )
    metric = privleak.PrivLeak(retrained=0.4772)
    for profile in metric.profiles:
        assert metric.compare(high, low, profile=profile).value == pytest.approx(-100.0)
        assert metric.compare(low, high, profile=profile).value == pytest.approx((1 / 0.4772 - 1) * 100)


def test_privleak_without_a_retain_model_has_no_value() -> None:
    bare = [
        [replace(s, token_logprobs={"answer": s.token_logprobs["answer"]}) for s in part] for part in (MEMBERS, OTHERS)
    ]
    found = privleak.METRIC.compare(*bare)
    assert found.value is None
    assert "no log-probs of the retain model" in found.reasons


def test_relative_difference_by_hand() -> None:
    """Probabilities 1/2 against 1/8: (.5 - .125) / .125 = 300 %."""
    own, other = [prob([math.log(1 / 2)], subject="a")], [prob([math.log(1 / 8)], subject="a")]
    for profile in relative_difference.METRIC.profiles:
        assert relative_difference.METRIC.compare(own, other, profile=profile).value == pytest.approx(300.0)
    assert relative_difference.METRIC.compare(own, own).value == 0.0
    nothing = [prob([-1e4], subject="a")]
    assert relative_difference.METRIC.compare(own, nothing).value is None
    assert relative_difference.METRIC.compare(own, nothing, profile="openunlearning").value == pytest.approx(0.5e12)


def told(logprobs: list[float], *, subject: str, behind: list[float], norms: tuple[float, float]) -> Sample:
    """A sample with its log-probs behind four rows nobody has seen, and its gradients' norms."""
    sample = prob(logprobs, subject=subject)
    values = {
        name: {"answer": (norm,) * len(logprobs)}
        for name, norm in zip(("gradient_norm", "gradient_norm_but_last"), norms, strict=True)
    }
    roles = {**sample.token_logprobs, "prefixed/4/answer": tuple(behind)}
    return replace(sample, token_logprobs=roles, token_values=values)


def test_recall_is_the_ratio_of_mean_log_probs() -> None:
    """-2 behind others' answers and -1 without: 2; a member is moved more than a non-member."""
    member = told([-0.5, -1.5], subject="a", behind=[-1.0, -3.0], norms=(1.0, 1.0))
    assert recall_score(member, shots=4).value == pytest.approx(2.0)
    assert recall_score(member, shots=3).reason == "not asked behind 3 rows nobody has seen"
    sure = told([0.0], subject="a", behind=[-1.0], norms=(1.0, 1.0))
    assert recall_score(sure, shots=4).value is None
    others = [told([-2.0], subject=f"x{n}", behind=[-1.0 - n], norms=(1.0, 1.0)) for n in range(6)]
    # The first four stand in front of the others; the ratios of the last two are 2.5 and 3.
    found = mia_auc_recall.METRIC.compare([member], others)
    assert (found.value, found.num_scored) == (0.0, 3)


def test_a_small_gradient_is_a_members() -> None:
    """Norms .2 and .4 of members, .3 and .5 of others: three of four pairs; without the last token one of four."""
    inside = [told([-1.0, -1.0], subject=f"a{n}", behind=[], norms=(0.2 + 0.2 * n, 2.0 + n)) for n in range(2)]
    outside = [told([-1.0, -1.0], subject=f"b{n}", behind=[], norms=(0.3 + 0.2 * n, 1.0 + 1.5 * n)) for n in range(2)]
    assert mia_auc_grad_norm.METRIC.compare(inside, outside).value == 0.75
    assert mia_auc_grad_norm.METRIC.compare(inside, outside, profile="openunlearning").value == 0.25


def test_an_answer_without_a_gradient_is_unscored() -> None:
    bare = prob([-1.0, -1.0], subject="a")
    found = mia_auc_grad_norm.METRIC.compare([bare], [replace(bare, subject="b")])
    assert found.value is None
    assert "no gradient of the answer: a guard or quantised weights have none" in found.reasons[0]
