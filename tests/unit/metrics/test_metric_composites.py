"""Model utility and the paper's two averages, checked against the transcribed rows of FIUBench's table 2."""

from __future__ import annotations

import pytest
from scipy.stats import hmean

from mmforget.metrics import model_utility
from mmforget.protocols.fiubench.metrics import paper_avg_fq, paper_avg_mu
from mmforget.types import Estimate

UTILITY, MU, FQ = model_utility.METRIC, paper_avg_mu.METRIC, paper_avg_fq.METRIC

# Percent: ROUGE, GPT, truth, ACC, average; log p, EM, MIA, APE, average. LLaVA-Phi-mini-3B, forget5.
ROWS = {
    "retain": ((93.7, 83.3, 77.3, 100.0, 88.6), (0.00, 13.3, 12.3, 14.7, 93.3)),
    "ga": ((50.6, 10.0, 48.4, 60.8, 42.5), (-0.03, 14.0, 13.0, 15.4, 92.9)),
    "grad_diff": ((70.2, 37.1, 59.6, 79.5, 61.6), (-5.80, 18.9, 12.6, 19.0, 80.7)),
    "kl": ((90.3, 56.7, 72.6, 93.3, 78.2), (-21.7, 41.2, 42.1, 46.8, 36.8)),
    "po": ((72.8, 33.6, 60.7, 90.6, 64.5), (-4.70, 6.90, 64.2, 6.80, 76.0)),
}
PARTS = {"rouge": 0.8, "probability": 0.5, "truth": 0.4, "keywords": 0.8}


def estimates(values: dict[str, float]) -> dict[str, Estimate]:
    return {key: Estimate(value, num_scored=10) for key, value in values.items()}


@pytest.mark.parametrize("row", ROWS)
def test_the_average_of_utility_reproduces_the_printed_row(row: str) -> None:
    """GA: (50.6 + 10.0 + 48.4 + 60.8) / 4 = 42.45. Printed numbers are rounded to .1, and so are those averaged."""
    rouge, judge, truth, accuracy, printed = (value / 100 for value in ROWS[row][0])
    found = MU.combine(estimates({"rouge": rouge, "judge": judge, "truth": truth, "accuracy": accuracy}))
    assert found.value == pytest.approx(printed, abs=0.001)


@pytest.mark.parametrize("row", ROWS)
def test_the_average_of_forget_quality_reproduces_the_printed_row(row: str) -> None:
    """KL: .5 (1 - 21.7/26.1) + .15 (.588) + .2 (.579) + .15 (.532) = .0843 + .0882 + .1158 + .0798 = .3681."""
    ks, *rest = ROWS[row][1]
    keywords, mia, ape, printed = (value / 100 for value in rest)
    found = FQ.combine(estimates({"ks": ks, "keywords": keywords, "mia": mia, "ape": ape}))
    assert found.value == pytest.approx(printed, abs=0.0011)


def test_the_worst_p_is_clipped_and_the_best_is_one() -> None:
    worst = {"ks": -238.97, "keywords": 1.0, "mia": 1.0, "ape": 1.0}
    assert FQ.combine(estimates(worst)).value == 0.0
    assert FQ.combine(estimates(dict.fromkeys(worst, 0.0))).value == pytest.approx(1.0)


def test_the_average_of_utility_needs_a_judge_and_says_so() -> None:
    found = MU.combine(estimates({"rouge": 0.9, "truth": 0.7}))
    assert found.value is None
    assert found.reasons == ("judge: not measured", "accuracy: not measured")


def test_model_utility_by_hand() -> None:
    """4 / (1/.8 + 1/.5 + 1/.4 + 1/.8) = 4 / 7 in both profiles."""
    for profile in UTILITY.profiles:
        assert UTILITY.combine(estimates(PARTS), profile=profile).value == pytest.approx(4 / 7)


def test_a_judge_counts_where_there_is_one() -> None:
    parts = PARTS | {"judge": 0.3}
    assert UTILITY.combine(estimates(parts)).value == pytest.approx(hmean(list(parts.values())))


def test_one_lost_ability_takes_all_utility() -> None:
    assert UTILITY.combine(estimates(PARTS | {"truth": 0.0})).value == 0.0
    assert UTILITY.combine(estimates(PARTS)).reasons == ("judge: not measured, left out",)


def test_a_component_nobody_measured_is_left_out_when_clean_and_blocks_when_released() -> None:
    """Without keywords: 3 / (1/.8 + 1/.5 + 1/.4) = 3 / 5.75."""
    parts = estimates({key: value for key, value in PARTS.items() if key != "keywords"})
    found = UTILITY.combine(parts)
    assert found.value == pytest.approx(3 / 5.75)
    assert "keywords: not measured, left out" in found.reasons
    assert UTILITY.combine(parts, profile="released").value is None


@pytest.mark.parametrize("profile", ["released", "clean"])
def test_a_component_that_could_not_be_scored_leaves_no_utility(profile: str) -> None:
    """A destroyed model gives NaN probabilities; dropping them would raise its utility."""
    broken = Estimate(None, num_unscored=10, reasons=("10 of 10 unscored: a log-probability is not a number",))
    found = UTILITY.combine(estimates(PARTS) | {"probability": broken}, profile=profile)
    assert found.value is None
    assert "probability: no value, 10 of 10 unscored: a log-probability is not a number" in found.reasons
    assert found.num_unscored == 10


def test_partly_scored_components_are_named() -> None:
    found = UTILITY.combine(estimates(PARTS) | {"truth": Estimate(0.4, num_scored=7, num_unscored=3)})
    assert found.value == pytest.approx(4 / 7)
    assert "truth: 3 of 10 unscored" in found.reasons


def test_nothing_measured_is_no_value() -> None:
    for metric in (UTILITY, MU, FQ):
        assert metric.combine({}).value is None
