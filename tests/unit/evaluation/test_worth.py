"""What a number is worth, of models whose history is known: worked by hand, and AUC beside sklearn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mmforget.evaluation.worth import Key, Model, Trait, Worth, evidence, ratio, worths
from mmforget.metrics.base import RATE

KEY = Key("recall", "forget", "clean")
LESS = Trait(False, "forgotten", RATE, None)
QUANTISED, RELEARNED = "quantised", "relearned"


def model(pool: str, number: int, value: float | None, *, share: float = 0.0, **after: float) -> Model:
    values = {"": {KEY: value}, **{change: {KEY: found} for change, found in after.items()}}
    return Model(f"{pool}-{number}", pool, share, True, values, utility_ratio=0.9)  # type: ignore[arg-type]


def worth(models: list[Model], trait: Trait = LESS, **trained: bool) -> Worth:
    (found,) = worths(models, {KEY: trait}, trained=trained)
    return found


def pools(with_knowledge: list[float], without: list[float]) -> list[Model]:
    return [
        *(model("with", n, value, share=1.0) for n, value in enumerate(with_knowledge)),
        *(model("without", n, value) for n, value in enumerate(without)),
    ]


def test_the_auc_is_sklearns_with_ties_half() -> None:
    generator = np.random.default_rng(0)
    known, unknown = generator.normal(2, 1, 30).round(1), generator.normal(0, 1, 30).round(1)
    found = worth(pools(known.tolist(), unknown.tolist()))
    truth = roc_auc_score([1] * 30 + [0] * 30, [*known, *unknown])
    assert found.auc.value == pytest.approx(truth)
    assert found.auc.num == 60
    assert found.tells is True


def test_pools_that_are_quite_apart_have_an_interval_all_the_same() -> None:
    found = worth(pools([1.0] * 30, [0.0] * 30))
    assert found.auc.value == 1.0
    assert found.auc.low is not None
    assert 0.8 < found.auc.low < 1.0


def test_a_constant_tells_nothing_and_is_said_to_be_one() -> None:
    found = worth(pools([0.3] * 30, [0.3] * 30))
    assert (found.auc.value, found.constant, found.tells) == (0.5, True, False)
    assert found.correlation.value is None


def test_two_against_two_are_too_few_for_an_interval_and_so_for_a_mark() -> None:
    found = worth(pools([0.9, 0.8], [0.1, 0.2]))
    assert (found.auc.value, found.auc.low, found.tells) == (1.0, None, None)


def test_what_is_kept_or_counts_failures_is_never_marked() -> None:
    for about in ("kept", "failures"):
        assert worth(pools([0.3] * 30, [0.3] * 30), LESS._replace(about=about)).tells is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "trait", "expected"),
    [
        (0.8, LESS, 0.8),
        (0.8, LESS._replace(higher_is_better=True), 0.2),
        (-3.0, LESS._replace(higher_is_better=True, range=(-math.inf, 0.0)), 3.0),
        (0.3, LESS._replace(higher_is_better=None, reference=0.5), 0.2),
        (0.3, LESS._replace(higher_is_better=None), None),
        (None, LESS, None),
        (math.nan, LESS, None),
    ],
)
def test_evidence_is_higher_where_more_is_known(value: float | None, trait: Trait, expected: float | None) -> None:
    assert evidence(value, trait) == (None if expected is None else pytest.approx(expected))


def test_what_was_not_measured_is_counted_and_takes_no_part() -> None:
    models = [*pools([1.0, 1.0, 1.0], [0.0, 0.0, 0.0]), model("with", 9, None), model("without", 9, None)]
    found = worth(models)
    assert (found.num_missing, found.auc.num, found.auc.value) == (2, 6, 1.0)


def test_the_correlation_is_with_the_share_that_was_learnt() -> None:
    parts = [model("part", n, share * 0.8, share=share) for n, share in enumerate((0.25, 0.5, 0.75))]
    found = worth([*pools([0.8], [0.0]), *parts])
    assert found.correlation.value == pytest.approx(1.0)
    assert found.correlation.num == 5


def test_lasting_is_the_published_ratio_of_unlearned_models() -> None:
    """Q: .2 before and .4 after quantisation, 1/2. R: retain models gain .1, these .2 and .4: (1/2 + 1/4) / 2."""
    others = [
        model("with", 0, 1.0, quantised=0.9, relearned=1.0),
        model("without", 0, 0.1, quantised=0.1, relearned=0.2),
    ]
    unlearned = [
        model("unlearned", 0, 0.2, quantised=0.4, relearned=0.4),
        model("unlearned", 1, 0.2, quantised=0.4, relearned=0.6),
    ]
    found = worth([*others, *unlearned], quantised=False, relearned=True)
    assert found.after[QUANTISED].lasting.value == pytest.approx(0.5)
    assert found.after[RELEARNED].lasting.value == pytest.approx(0.375)
    assert found.robustness == pytest.approx(2 / (1 / 0.5 + 1 / 0.375))
    assert found.overall == pytest.approx(2 / (1.0 + 1 / found.robustness))
    assert found.after[QUANTISED].auc.value == 1.0


def test_an_unlearned_model_without_utility_says_nothing_of_what_lasts() -> None:
    broken = Model("unlearned-0", "unlearned", 1.0, False, {"": {KEY: 0.2}, QUANTISED: {KEY: 0.4}}, utility_ratio=0.5)
    found = worth([*pools([1.0], [0.0]), broken], quantised=False)
    assert (found.after[QUANTISED].lasting.value, found.robustness, found.overall) == (None, None, None)


@pytest.mark.parametrize(
    ("less", "more", "expected"),
    [(0.2, 0.4, 0.5), (0.4, 0.2, 1.0), (-0.1, 0.2, 0.0), (0.3, 0.0, 1.0), (0.3, -0.1, 1.0)],
)
def test_a_ratio_lies_between_nothing_and_one(less: float, more: float, expected: float) -> None:
    assert ratio(less, more) == pytest.approx(expected)
