"""MedForget's metrics: values worked by hand from the protocol."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rouge_score.rouge_scorer import RougeScorer

from mmforget.metrics.choices import options_of
from mmforget.protocols.medforget.metrics import (
    accuracy_gap,
    answer_accuracy,
    factuality,
    medical_utility,
    rouge_gap,
    rouge_l_f1,
    total_score,
)
from mmforget.types import Estimate, Sample, Score
from tests.unit.metrics.metric_samples import gen

ACCURACY, ROUGE, FACTUALITY = answer_accuracy.METRIC, rouge_l_f1.METRIC, factuality.METRIC
TOTAL, UTILITY = total_score.METRIC, medical_utility.METRIC
OPTIONS = "Which finding? A) Pneumonia B) small nodule C) effusion"


def sample(response: str | None, *, answer: str, question: str = "what?", task: str = "", **labels: str) -> Sample:
    extra: dict[str, Any] = {"task": task} if task else {}
    return replace(gen(response, answer=answer), question=question, extra=extra, labels=labels)


@pytest.mark.parametrize(
    "said, answer, right",
    [
        ("A. pneumonia.", "A) Pneumonia", 1.0),
        ("12 03 2180", "12/03/2180", 1.0),
        ("nodules", "nodule", 1.0),
        ("A", "A) Pneumonia", 0.0),
        ("A) Pneumonia. And more.", "A) Pneumonia", 0.0),
        ("肺炎", "肺炎", 0.0),
        ("", "nodule", 0.0),
    ],
)
def test_released_accuracy_is_rouge_of_one(said: str, answer: str, right: float) -> None:
    """The protocol's own examples: case, punctuation and plurals do not matter, a bare letter is .667 and so wrong."""
    found = ACCURACY.score(sample(said, answer=answer, task="classification"), profile="released")
    assert found.value == right


def test_a_bare_letter_has_a_rouge_of_two_thirds() -> None:
    assert ROUGE.score(sample("A", answer="A) Pneumonia"), profile="released").value == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "said, right",
    [
        ("B) small nodule", 1.0),
        ("B", 1.0),
        ("b.", 1.0),
        ("(b) small nodule", 1.0),
        ("B) small nodule. It is on the left.", 1.0),
        ("Small nodule.", 1.0),
        ("B: the nodule", 1.0),
        ("A) small nodule", 0.0),  # the letter counts
        ("a small nodule", 0.0),
        ("C) effusion", 0.0),
        ("nothing", 0.0),
        ("", 0.0),
    ],
)
@pytest.mark.parametrize("answer", ["B) small nodule", "B", "small nodule"])
def test_clean_accuracy_with_options(said: str, right: float, answer: str) -> None:
    found = ACCURACY.score(sample(said, answer=answer, question=OPTIONS, task="classification"))
    assert found.value == right


@pytest.mark.parametrize(
    "said, right",
    [
        ("left apex", 1.0),
        ("Left apex.", 1.0),
        ("The site is left apex.", 1.0),
        ("left apex. It is.", 1.0),
        ("the left apex", 0.0),
        ("right apex", 0.0),
        ("The site is right apex.", 0.0),
    ],
)
def test_clean_accuracy_of_a_cloze(said: str, right: float) -> None:
    """The missing words alone, or their sentence with the blank filled."""
    found = ACCURACY.score(sample(said, answer="left apex", question="The site is [blank].", task="cloze"))
    assert found.value == right


def test_options_of_a_question() -> None:
    assert options_of(OPTIONS) == {"A": "Pneumonia", "B": "small nodule", "C": "effusion"}
    assert options_of("Vitamin A) is what?") == {}
    assert options_of("(A) one\n(B) two") == {"A": "one", "B": "two"}


def test_each_kind_of_question_has_its_own_metric() -> None:
    """Open ones have no accuracy, closed ones no ROUGE; a row that does not say its kind has both."""
    assert ACCURACY.score(sample("x", answer="x", task="generation")) == Score(None, "ann", "an open question", True)
    for task in ("classification", "cloze"):
        assert ROUGE.score(sample("x", answer="x", task=task)) == Score(None, "ann", "a closed question", True)
    assert ACCURACY.score(sample("x", answer="x")).value == ROUGE.score(sample("x", answer="x")).value == 1.0


def test_questions_of_the_other_kind_are_not_missing() -> None:
    """Two closed questions, one right, and an open one: .5 of two, none unscored; what got no response is unscored."""
    samples = [
        sample("x", answer="x", task="cloze"),
        sample("y", answer="x", task="cloze"),
        sample("x", answer="x", task="generation"),
        sample(None, answer="x", task="cloze"),
    ]
    found = ACCURACY.aggregate([ACCURACY.score(one) for one in samples])
    assert (found.value, found.num_scored, found.num_unscored) == (0.5, 2, 1)
    alone = ACCURACY.aggregate([ACCURACY.score(samples[2])])
    assert (alone.value, alone.num_unscored, alone.reasons) == (None, 0, ("no question of this kind",))


def test_where_nobody_judged_nothing_is_missing() -> None:
    """But where some answers were judged, those that were not are."""
    bare, judged = (sample("x", answer="x", task="generation", **labels) for labels in ({}, {"factuality": "4"}))
    nobody = FACTUALITY.aggregate([FACTUALITY.score(bare)] * 2)
    assert (nobody.value, nobody.num_unscored) == (None, 0)
    some = FACTUALITY.aggregate([FACTUALITY.score(one) for one in (bare, judged)])
    assert (some.value, some.num_unscored) == (4.0, 1)


def test_rouge_f1_by_hand() -> None:
    """Answer of 4 words, response of 6, in common she, live, in: precision 3/6, recall 3/4, F1 .6."""
    one = sample("she lives in a small town", answer="she lives in oslo.")
    assert ROUGE.score(one, profile="released").value == pytest.approx(0.6)
    assert ROUGE.score(one).value == pytest.approx(0.6)
    assert RougeScorer(["rougeL"], use_stemmer=True).score(one.answer, str(one.response))["rougeL"].fmeasure == 0.6


def test_clean_rouge_does_not_count_what_follows_the_answer() -> None:
    """Released: precision 4/8, recall 1, F1 2/3."""
    one = sample("she lives in oslo. and here is more.", answer="she lives in oslo.")
    assert ROUGE.score(one, profile="released").value == pytest.approx(2 / 3)
    assert ROUGE.score(one).value == 1.0


def test_an_answer_without_words() -> None:
    one = sample("x", answer="...")
    assert ROUGE.score(one, profile="released").value == 0.0
    assert ROUGE.score(one).reason == "the reference answer has no words"


def test_factuality_is_what_the_judge_said() -> None:
    one = sample("x", answer="x", task="generation", factuality="7.5")
    assert FACTUALITY.score(one).value == FACTUALITY.score(one, profile="released").value == 7.5
    nobody = FACTUALITY.score(sample("x", answer="x", task="generation"))
    assert nobody.value is None
    assert "--judge" in nobody.reason


@pytest.mark.parametrize("said, released", [("0", 0.0), ("11", None), ("-1", None), ("good", None), ("nan", None)])
def test_a_broken_judgement_is_unscored(said: str, released: float | None) -> None:
    """As released a reply without a score is a 0 that counts; clean wants 1 to 10."""
    one = sample("x", answer="x", task="generation", factuality=said)
    assert FACTUALITY.score(one).value is None
    assert FACTUALITY.score(one, profile="released").value == released


def test_total_score_by_hand() -> None:
    """R .6, F 8: .25 x .6 + .75 x .8 = .75."""
    one = sample("she lives in a small town", answer="she lives in oslo.", task="generation", factuality="8")
    assert TOTAL.score(one, profile="released").value == pytest.approx(0.75)
    assert TOTAL.score(one).value == pytest.approx(0.75)
    assert TOTAL.score(replace(one, labels={})).value is None
    samples = [one, replace(one, labels={}, subject="bo")]
    estimate = TOTAL.aggregate([TOTAL.score(each, profile="released") for each in samples])
    assert (estimate.value, estimate.num_unscored) == (pytest.approx(0.75), 1)


def test_utility_is_a_harmonic_mean() -> None:
    """2 / (1 / .5 + 1 / 1) = 2/3; one kind alone is itself; one at 0 makes it 0."""
    parts = {"accuracy": Estimate(0.5, num_scored=4), "rouge": Estimate(1.0, num_scored=4)}
    assert UTILITY.combine(parts).value == pytest.approx(2 / 3)
    assert UTILITY.combine({"rouge": Estimate(0.4, num_scored=4)}).value == pytest.approx(0.4)
    assert UTILITY.combine({**parts, "accuracy": Estimate(0.0, num_scored=4)}).value == 0.0


@pytest.mark.parametrize("metric", [accuracy_gap.METRIC, rouge_gap.METRIC])
@pytest.mark.parametrize("profile", ["released", "clean"])
def test_gaps_are_kept_minus_forgotten(metric: Any, profile: str) -> None:
    parts = {"retain": Estimate(0.75, num_scored=4), "forget": Estimate(0.5, num_scored=2)}
    assert metric.combine(parts, profile=profile).value == pytest.approx(0.25)
    turned = {"retain": parts["forget"], "forget": parts["retain"]}
    assert metric.combine(turned, profile=profile).value == pytest.approx(-0.25)
    assert metric.combine({"retain": parts["retain"]}, profile=profile).value is None
