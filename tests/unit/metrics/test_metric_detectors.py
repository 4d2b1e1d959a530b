"""Membership detectors by hand and as scikit-learn has them, and what the strongest of them finds of what is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from metric_samples import prob
from sklearn.linear_model import LogisticRegression

from mmforget.metrics.detectors import NAMES, detector
from mmforget.metrics.membership import (
    confidence_score,
    correctness_score,
    entropy_score,
    lira_score,
    lowest_score,
    neighbour_score,
    ratio_score,
)
from mmforget.metrics.mia_auc import METRIC as MIA_AUC
from mmforget.metrics.mia_auc import MiaAuc
from mmforget.metrics.mia_strongest import METRIC
from mmforget.metrics.mia_tpr import MiaTPR
from mmforget.statistics.logistic import learned
from mmforget.types import Sample

HALF, QUARTER = math.log(0.5), math.log(0.25)


def rows(name: str, *, shift: float, seed: int, num: int = 40, tokens: int = 12) -> list[Sample]:
    """Answers of `num` subjects: standard normal log-odds, moved by `shift`, with all that detectors read."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(num):
        logprobs = [-np.logaddexp(0.0, -generator.normal(shift, 1.0, tokens)) for _ in range(3)]
        sample = prob(logprobs[0].tolist(), subject=f"{name}{number}", number=number)
        roles = {"answer": logprobs[0], "reference/answer": logprobs[1] - shift, "rephrased/0": logprobs[2]}
        values = {
            "entropy": generator.uniform(1.0, 2.0, tokens),
            "variance": generator.uniform(1.0, 2.0, tokens),
            "is_best": (logprobs[0] > HALF).astype(float),
        }
        found.append(
            replace(
                sample,
                token_logprobs={role: tuple(np.minimum(told, 0.0).tolist()) for role, told in roles.items()},
                token_values={key: {"answer": tuple(told.tolist())} for key, told in values.items()},
            )
        )
    return found


def test_scores_by_hand() -> None:
    """Tokens of probability 1/2 and 1/4; paraphrases of 1/4; the reference model's 1/4 and 1/4."""
    sample = prob([HALF, QUARTER])
    sample = replace(
        sample,
        token_logprobs={
            "answer": (HALF, QUARTER),
            "reference/answer": (QUARTER, QUARTER),
            "rephrased/0": (QUARTER,),
            "rephrased/1": (QUARTER, QUARTER),
        },
        token_values={"entropy": {"answer": (1.0, 3.0)}, "is_best": {"answer": (1.0, 0.0)}},
    )
    mean = (HALF + QUARTER) / 2
    assert confidence_score(sample).value == pytest.approx(0.375)
    assert lowest_score(sample).value == QUARTER
    assert entropy_score(sample).value == -2.0
    assert correctness_score(sample).value == 0.5
    assert neighbour_score(sample).value == pytest.approx(mean - QUARTER)
    assert ratio_score(sample).value == pytest.approx(mean / -QUARTER)
    odds = math.exp(mean) / (1 - math.exp(mean))
    assert lira_score(sample).value == pytest.approx(math.log(odds) - math.log(1 / 3))


def test_what_cannot_be_scored_says_why() -> None:
    bare = prob([HALF])
    assert entropy_score(bare).reason == "no entropy of the answer's tokens"
    assert neighbour_score(bare).lacking
    assert lira_score(bare).reason == ratio_score(bare).reason == "reference: no answer tokens"
    sure = replace(bare, token_logprobs={"answer": (HALF,), "reference/answer": (0.0,)})
    assert ratio_score(sure).value is None
    assert lira_score(sure).value == pytest.approx(-math.log(2.0**53), rel=1e-6)


def test_the_classifier_is_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(60, 3)) * [1.0, 5.0, 0.1] + [0.0, 2.0, 0.0]
    labels = features[:, 0] + generator.normal(size=60) > 0.7
    rows = (features - features.mean(axis=0)) / features.std(axis=0)
    other = LogisticRegression(C=1.0, class_weight="balanced", tol=1e-8, max_iter=1000).fit(rows, labels)
    assert learned(features, labels).log_odds(features) == pytest.approx(other.decision_function(rows), abs=1e-3)


def test_a_model_that_states_what_was_forgotten_is_found_out() -> None:
    """Also one that avoids it; of one that never saw it no detector finds anything, however many are tried."""
    outside = rows("out", shift=0.0, seed=1)
    for shift in (2.0, -2.0):
        found = METRIC.compare(rows("in", shift=shift, seed=2), outside)
        assert found.value is not None
        assert found.value > 0.95
        assert found.low is not None
        assert found.low > 0.8
    blind = [METRIC.compare(rows("in", shift=0.0, seed=9 + n), rows("out", shift=0.0, seed=99 + n)) for n in range(12)]
    assert abs(np.mean([one.value for one in blind]) - 0.5) < 0.05
    assert sum(one.low > 0.5 or one.high < 0.5 for one in blind) <= 2
    assert all(one.reasons[0].startswith("chosen: ") for one in blind)


def test_every_detector_tells_what_is_known() -> None:
    known, unseen = rows("in", shift=2.0, seed=2), rows("out", shift=0.0, seed=1)
    blind = ("entropy", "neighbour")  # these rows' entropies and paraphrases do not say
    for name in set(NAMES) - set(blind):
        found = MiaAuc(score=name).compare(known, unseen)
        assert found.value is not None, name
        assert abs(found.value - 0.5) > 0.3, name
    assert MIA_AUC.compare(known, unseen) == MiaAuc(score="loss").compare(known, unseen)


def test_what_is_avoided_is_found_at_the_low_end() -> None:
    """Members at -4 and -1, non-members at -1, -2, -3, -3: below all of these is one member; above none."""
    inside = [prob([value], subject=f"a{value}") for value in (-4.0, -1.0)]
    outside = [prob([value], subject=f"b{n}") for n, value in enumerate((-1.0, -2.0, -3.0, -3.0))]
    assert MiaTPR(fpr=0.1, end="low").compare(inside, outside).value == 0.5
    assert MiaTPR(fpr=0.1).compare(inside, outside).value == 0.0


def test_a_classifier_of_too_few_subjects_is_none_and_says_so() -> None:
    one = rows("in", shift=0.0, seed=2, num=1)
    scores = detector("learned")(one, rows("out", shift=0.0, seed=1))
    assert {score.reason for score in scores.members} == {"too few subjects to learn a classifier on half of them"}
    found, plain = (metric.compare(one, rows("out", shift=0.0, seed=1)) for metric in (METRIC, MIA_AUC))
    assert found.value == plain.value
    assert found.reasons[-1] == "too few subjects to choose a detector on half of them: loss (high scores)"


def test_detectors_that_lack_something_are_named() -> None:
    bare = [
        [replace(s, token_logprobs={"answer": s.token_logprobs["answer"]}, token_values={}) for s in group]
        for group in (rows("in", shift=2.0, seed=2), rows("out", shift=0.0, seed=1))
    ]
    found = METRIC.compare(*bare)
    assert found.value is not None
    assert found.value > 0.9
    assert "not tried: reference, reference: no answer tokens" in found.reasons
