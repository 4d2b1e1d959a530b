"""OFFSIDE's metrics against their libraries and against values worked by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import sentence_bleu as sacre_sentence_bleu

from mmforget.benchmark.document import MetricName
from mmforget.metrics.arguments import metric_of
from mmforget.metrics.base import SampleMetric
from mmforget.protocols.offside.metrics import (
    attribute_match,
    bleu,
    fact_score,
    generation_overall,
    option_accuracy,
    rouge_f1,
    transfer_utility,
)
from mmforget.protocols.offside.overlaps import tokens
from mmforget.types import Estimate, Sample
from tests.unit.metrics.metric_samples import gen

GOLD, SAID = "The transfer fee is EUR 4.10 million.", "The fee is EUR 4.20 million, as far as I know."


def sample(response: str | None, *, answer: str = GOLD, question: str = "what?", **more: Any) -> Sample:
    labels = {"fact_score": more.pop("grade")} if "grade" in more else {}
    return replace(gen(response, answer=answer), question=question, extra=more, labels=labels)


def value(metric: SampleMetric, one: Sample, *, profile: str = "clean") -> float | None:
    return metric.score(one, profile=profile).value


@pytest.mark.parametrize("of", ["rouge1", "rouge2", "rougeL"])
def test_rouge_is_that_of_the_library(of: str) -> None:
    expected = RougeScorer([of], use_stemmer=True).score(GOLD, SAID)[of].fmeasure
    metric = metric_of(MetricName("rouge_f1", {"of": of}))
    assert isinstance(metric, SampleMetric)
    for profile in ("released", "clean"):
        assert value(metric, sample(SAID), profile=profile) == pytest.approx(expected)


def test_rouge_by_hand() -> None:
    """One of two words, and one of one: precision 1, recall 1/2, F 2/3; there is no pair of words."""
    one = sample("United", answer="Harwick United")
    assert value(rouge_f1.METRIC, one) == pytest.approx(2 / 3)
    assert value(rouge_f1.RougeF1(of="rouge2"), one) == 0.0


def test_words_are_those_of_nltk() -> None:
    """A full stop ends a sentence, `st.` does not, and clitics are words of their own."""
    assert tokens("He's at St. Pauli. It cost EUR 4.10 million.") == [
        "he", "'s", "at", "st.", "pauli", ".", "it", "cost", "eur", "4.10", "million", ".",
    ]  # fmt: skip


def test_bleu_is_that_of_either_library() -> None:
    words = [tokens(text) for text in (GOLD, SAID)]
    expected = sentence_bleu([words[0]], words[1], smoothing_function=SmoothingFunction().method1)
    assert value(bleu.METRIC, sample(SAID), profile="released") == pytest.approx(expected)
    clean = sacre_sentence_bleu(SAID, [GOLD], lowercase=True).score / 100
    assert value(bleu.METRIC, sample(SAID)) == pytest.approx(clean)


def test_overall_is_the_mean_of_four() -> None:
    for profile in ("released", "clean"):
        parts = [value(rouge_f1.RougeF1(of=of), sample(SAID), profile=profile) for of in ("rouge1", "rouge2", "rougeL")]
        parts.append(value(bleu.METRIC, sample(SAID), profile=profile))
        found = value(generation_overall.METRIC, sample(SAID), profile=profile)
        assert found == pytest.approx(sum(part or 0.0 for part in parts) / 4)
    assert value(generation_overall.METRIC, sample(GOLD)) == pytest.approx(1.0)


@pytest.mark.parametrize("metric", [rouge_f1.METRIC, bleu.METRIC, generation_overall.METRIC], ids=lambda m: str(m.name))
def test_an_empty_answer_is_wrong_and_left_out_as_released(metric: SampleMetric) -> None:
    """Two right answers and two empty ones: 1/2, and as released 1 of what is left, which is said."""
    answers = [sample(GOLD), sample(GOLD), sample(""), sample("  ")]
    clean, released = (
        metric.aggregate([metric.score(one, profile=name) for one in answers]) for name in ("clean", "released")
    )
    assert (clean.value, clean.num_scored, clean.num_unscored) == (pytest.approx(0.5), 4, 0)
    assert (released.value, released.num_scored, released.num_unscored) == (pytest.approx(1.0), 2, 2)


CHOICE = "Which club?\n\nChoose.\n\nA: Arsenal\nB: Everton\nC: Fulham\nD: Chelsea"


@pytest.mark.parametrize(
    "said, released, clean",
    [
        ("B", 1.0, 1.0),
        (" B ", 1.0, 1.0),
        ("The answer is B.", 1.0, 1.0),
        ("I think the answer is B", 1.0, 1.0),
        ("B: Everton", 0.0, 1.0),
        ("**B**", 0.0, 1.0),
        ("Everton", 0.0, 1.0),
        ("The Answer is B", 0.0, 1.0),
        ("A", 0.0, 0.0),
        ("A or B", 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_accuracy_reads_letters_as_released_and_sanely(said: str, released: float, clean: float) -> None:
    one = sample(said, answer="B", question=CHOICE)
    assert value(option_accuracy.METRIC, one, profile="released") == released
    assert value(option_accuracy.METRIC, one) == clean


def test_attribute_match_counts_what_has_a_type() -> None:
    metric = attribute_match.METRIC
    assert value(metric, sample("It is 4.1 million euros.", attribute="fee")) == 1.0
    assert value(metric, sample(SAID, attribute="fee")) == 0.0
    assert value(metric, sample("", attribute="fee")) == 0.0
    assert value(metric, sample("left", answer="left", attribute="foot")) is None
    assert metric.score(sample("left", answer="left", attribute="foot")).lacking
    visible = attribute_match.AttributeMatch(rumour="visible")
    assert value(visible, sample(GOLD, attribute="fee", is_visible=True)) == 1.0
    assert visible.score(sample(GOLD, attribute="fee", is_visible=False)).lacking


@pytest.mark.parametrize(
    "grade, released, clean", [("7", 7.0, 7.0), ("0", 0.0, 0.0), ("11", 0.0, None), ("unreadable", 0.0, None)]
)
def test_fact_score_is_the_judges_grade(grade: str, released: float, clean: float | None) -> None:
    one = sample(SAID, grade=grade)
    assert value(fact_score.METRIC, one, profile="released") == released
    assert value(fact_score.METRIC, one) == clean


def test_fact_score_without_a_judge_has_no_value() -> None:
    found = fact_score.METRIC.score(sample(SAID))
    assert (found.value, found.lacking) == (None, True)


def test_utility_is_the_harmonic_mean() -> None:
    """1 / 0.5 = 2 and 1 / 1 = 1: 2 / 3."""
    parts = {"answers": Estimate(0.5, num_scored=4), "options": Estimate(1.0, num_scored=4)}
    assert transfer_utility.METRIC.combine(parts).value == pytest.approx(2 / 3)


def test_a_reference_of_one_word_has_no_rouge_2() -> None:
    """Released: (BLEU + 1 + 0 + 1) / 4; clean leaves out what cannot be there, and the reference itself scores 1."""
    one = sample("Anna", answer="Anna")
    pairs = rouge_f1.RougeF1(of="rouge2")
    assert (value(pairs, one, profile="released"), value(pairs, one)) == (0.0, None)
    assert pairs.score(one).lacking
    assert value(generation_overall.METRIC, one) == 1.0
    own = sentence_bleu([["anna"]], ["anna"], smoothing_function=SmoothingFunction().method1)
    assert value(generation_overall.METRIC, one, profile="released") == pytest.approx((own + 2) / 4)
