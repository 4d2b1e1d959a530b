"""Metrics of choices and of whole documents, on values worked by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from mmforget.errors import UserError
from mmforget.metrics.choice_accuracy import ChoiceAccuracy
from mmforget.metrics.harmonic_mean import HarmonicMean
from mmforget.metrics.perplexity import Perplexity
from mmforget.metrics.probability import Probability
from mmforget.types import Estimate, Sample


def choice(choices: tuple[str, ...], logprobs: tuple[tuple[float, ...], ...], *, gold: int | None = 0) -> Sample:
    roles = {f"choice/{place}": values for place, values in enumerate(logprobs)}
    return Sample("t", "s", "mc", "1", "ann", "q", "a", token_logprobs=roles, choices=choices, gold=gold)


def document(name: str, text: str, logprobs: tuple[float, ...]) -> Sample:
    return Sample("t", "s", "roll", name, name, "", text, token_logprobs={"answer": logprobs} if logprobs else {})


@pytest.mark.parametrize(
    ("per", "gold", "value"),
    # Sums -2, -3 and -4 over 1, 10 and 3 characters, or 1, 10 and 6 bytes: -2, -.3, -1.3 and -2, -.3, -.67.
    [("option", 0, 1.0), ("option", 1, 0.0), ("character", 1, 1.0), ("byte", 1, 1.0), ("character", 0, 0.0)],
)
def test_the_most_likely_choice_counts(per: str, gold: int, value: float) -> None:
    sample = choice(("a", "abcdefghij", "äöü"), ((-2.0,), (-1.0, -2.0), (-4.0,)), gold=gold)
    metric = ChoiceAccuracy(per)  # type: ignore[arg-type]
    assert metric.score(sample).value == value


def test_bytes_are_no_characters() -> None:
    """-3 over three characters of two bytes each is less than -2 over three, and more over six."""
    sample = choice(("äöü", "abc"), ((-3.0,), (-2.0,)))
    assert [ChoiceAccuracy(per).score(sample).value for per in ("option", "character", "byte")] == [0.0, 0.0, 1.0]  # type: ignore[arg-type]


def test_of_equal_choices_the_first_counts() -> None:
    assert ChoiceAccuracy().score(choice(("a", "b"), ((-1.0, -1.0), (-2.0,)))).value == 1.0
    assert ChoiceAccuracy().score(choice(("a", "b"), ((-1.0, -1.0), (-2.0,)), gold=1)).value == 0.0


def test_what_cannot_be_scored_says_why() -> None:
    score = ChoiceAccuracy().score
    assert score(choice((), (), gold=None))[2:] == ("no choices with a right one", True)
    assert score(choice(("a", "b"), ((-1.0,), (math.nan,)))).reason == "a log-probability is not a number"
    assert score(choice(("a", "b"), ((-1.0,),)))[2:] == ("no log-probs of some choice", False)
    assert score(choice(("a", "b"), ((-math.inf,), (-1.0,)), gold=1)).value == 1.0


def test_only_rows_below_a_topic_count_where_one_is_named() -> None:
    sample = replace(choice(("a", "b"), ((-1.0,), (-2.0,))), path=("bio", "cells"))
    assert ChoiceAccuracy(below="bio").score(sample).value == 1.0
    assert ChoiceAccuracy(below="cyber").score(sample)[2:] == ("not below cyber", True)


DOCUMENTS = [document("a", "one two  three", (-1.0, -2.0)), document("b", "für", (-3.0,))]


@pytest.mark.parametrize(("per", "units"), [("word", 4), ("byte", 18), ("token", 3)])
def test_perplexity_is_over_all_units_of_all_documents(per: str, units: int) -> None:
    """Six nats over 3 + 1 words, 14 + 4 bytes, 2 + 1 tokens."""
    found = Perplexity(per).compare(DOCUMENTS, DOCUMENTS)  # type: ignore[arg-type]
    assert found.value == pytest.approx(math.exp(6.0 / units))
    assert (found.low, found.high, found.num_scored) == (None, None, 2)
    assert found.reasons == ("no interval: too few subjects (2; at least 4 are needed)",)


def test_perplexity_has_an_interval_over_subjects() -> None:
    """Of documents of one word each, whose losses are 1, 2, 3 and 4: exp of the interval of their mean.

    The mean 2.5 has the standard error sqrt(5 / 3) / 2, and Student's t with three degrees of freedom is 3.182.
    """
    documents = [document(f"d{loss}", "word", (-float(loss),)) for loss in (1, 2, 3, 4)]
    found = Perplexity().compare(documents, documents)
    assert found.value == pytest.approx(math.exp(2.5))
    half = 3.182446 * math.sqrt(5 / 3) / 2
    assert (found.low, found.high) == (
        pytest.approx(math.exp(2.5 - half), rel=1e-5),
        pytest.approx(math.exp(2.5 + half), rel=1e-5),
    )


def test_documents_that_are_impossible_or_without_log_probs() -> None:
    found = Perplexity().compare([*DOCUMENTS, document("c", "x", ()), document("d", "y", (math.nan,))], [])
    assert (found.value, found.num_scored, found.num_unscored) == (pytest.approx(math.exp(1.5)), 2, 2)
    assert Perplexity().compare([document("a", "x", (-math.inf,))], []).value == pytest.approx(1e300)


def test_the_probability_of_a_document_is_that_of_its_tokens() -> None:
    """Metrics of answers' log-probs read documents as they are: exp(-1.5)."""
    assert Probability().score(DOCUMENTS[0]).value == pytest.approx(math.exp(-1.5))


def test_a_harmonic_mean_of_what_a_document_names() -> None:
    """2 / (1 / .5 + 1 / .25) = 1/3, of metrics with arguments, on the set that each names."""
    metric = HarmonicMean(("choice_accuracy(per=byte)", "rouge_l on retain"))
    assert [(one.metric, dict(one.args), one.role) for one in metric.components] == [
        ("choice_accuracy", {"per": "byte"}, "utility"),
        ("rouge_l", {}, "retain"),
    ]
    parts = dict(zip(metric.of, (Estimate(0.5, num_scored=4), Estimate(0.25, num_scored=4)), strict=True))
    assert metric.combine(parts).value == pytest.approx(1 / 3)
    assert metric.combine({metric.of[0]: Estimate(0.5)}).reasons == ("rouge_l on retain: not measured",)
    wide = metric.combine({**parts, metric.of[1]: Estimate(7.0, range=(1.0, 1e300))})
    assert (wide.value, wide.reasons) == (None, ("no rates from 0 to 1: rouge_l on retain",))


@pytest.mark.parametrize("of", [(), ("rouge_l", "rouge_l"), ("rouge l",), ("rouge_l(part)",)])
def test_a_harmonic_mean_of_what_is_none_is_refused(of: tuple[str, ...]) -> None:
    with pytest.raises(UserError):
        HarmonicMean(of)
