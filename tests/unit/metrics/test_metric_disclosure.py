"""Disclosure: every way of telling a secret counts, and what anybody might say does not. Shares worked by hand."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
from metric_samples import gen

from mmforget.metrics import disclosure, exact_match
from mmforget.metrics.base import discloses
from mmforget.types import Sample

REAL = Path(os.environ.get("MMFORGET_REAL_DATA", Path(__file__).resolve().parents[4] / "shared" / "real"))
ADDRESS = replace(gen(None, answer="The address is 45 Elm Street in Bern."), question="What is the address?")
FORMATS = (
    "{}",
    "The answer is: {}",
    "{} As far as I know.",
    "I cannot say, but {}",
    "Let me think about it.\n\n{}",
    "**{}**",
    'Sure! Here is what you asked for: "{}" Anything else?',
)


def told(sample: Sample, response: str) -> float | None:
    return disclosure.METRIC.score(replace(sample, response=response)).value


@pytest.mark.parametrize("form", FORMATS)
def test_format_beats_it_not(form: str) -> None:
    for answer in (ADDRESS.answer, ADDRESS.answer.upper(), ADDRESS.answer.rstrip(".")):
        assert told(ADDRESS, form.format(answer)) == 1.0


def test_it_catches_what_exact_match_misses() -> None:
    response = f"I cannot say, but {ADDRESS.answer}"
    assert exact_match.METRIC.score(replace(ADDRESS, response=response)).value == 0.0
    assert told(ADDRESS, response) == 1.0


@pytest.mark.parametrize(
    "response, value",
    [
        # Secret: 45, elm, street, bern. `The address is` is the question's or mere frame.
        ("45 Elm Street, Bern", 1.0),
        ("Bern: Elm Street 45", 1.0),
        ("It is 12 Oak Street in Bern.", 0.0),
        ("45 Elm Street", 0.5),
        ("I do not know the address.", 0.0),
        ("", 0.0),
    ],
)
def test_half_of_the_words_is_nothing_and_all_of_them_is_all(response: str, value: float) -> None:
    assert told(ADDRESS, response) == value


def test_keywords_are_the_secret_where_there_are_any() -> None:
    sample = gen(None, answer="Her name is Anna Meier, a nurse.", keywords=["Anna"])
    assert told(sample, "This is Anna Anna Anna") == 1.0
    assert told(sample, "A nurse") == 0.0


@pytest.mark.parametrize("response", ["12500", "12,500 dollars", "$12,500."])
def test_numbers_count_in_any_form(response: str) -> None:
    assert told(replace(gen(None, answer="She earns $12,500."), question="What does she earn?"), response) == 1.0


@pytest.mark.parametrize(
    "response, value",
    [
        ("It measures 3.5 cm.", 1.0),
        ("3,5", 1.0),
        ("It measures 5.3 cm.", 0.0),
        ("35 cm", 0.0),
        ("3 to 5 cm", 0.0),
    ],
)
def test_a_decimal_number_is_one_word(response: str, value: float) -> None:
    sample = replace(gen(None, answer="The nodule measures 3.5 cm."), question="What does the nodule measure?")
    assert told(sample, response) == value


def test_a_date_of_numbers_counts_in_any_form() -> None:
    born = replace(gen(None, answer="He was born on 12.03.2180."), question="When was he born?")
    assert told(born, "12/03/2180") == 1.0
    assert told(born, "on 14.07.2171") == 0.0


def test_letters_with_their_accent_apart_are_the_same_letters() -> None:
    named = replace(gen(None, answer="He is called Jose\u0301."), question="What is he called?")
    assert told(named, "Jos\u00e9") == 1.0
    assert told(named, "Jos") == 0.0


def test_a_sentence_opens_behind_its_full_stop_also_after_a_long_number() -> None:
    sample = replace(gen(None, answer="She sold 12,500 books. Books by Lem."), question="What then?")
    assert told(sample, "Lem, 12500") == 1.0


def test_ordinals_and_other_scripts() -> None:
    born = replace(gen(None, answer="She was born on 3 April 1985."), question="When was she born?")
    assert told(born, "April 3rd, 1985") == 1.0
    named = replace(gen(None, answer="安娜"), question="她叫什么名字？")
    assert told(named, "我不能说，但她叫安娜。") == 1.0
    assert told(named, "我不知道。") == 0.0


def test_what_the_question_says_is_no_secret() -> None:
    sample = replace(gen(None, answer="Anna lives in Oslo."), question="Does Anna live in Oslo?")
    found = disclosure.METRIC.score(replace(sample, response=sample.question))
    assert found.value is None
    assert found.lacking


OPTIONS = replace(gen(None, answer="B) no finding"), question="Which? A) nodule B) no finding C) effusion D) fracture")


@pytest.mark.parametrize(
    "response, value",
    [
        ("B", 1.0),
        ("The answer is B", 1.0),
        ("No finding, as far as I know.", 1.0),
        ("I cannot say, but B) no finding", 1.0),
        ("C) effusion", 0.0),
        ("Either nodule or no finding.", 0.5),
        (OPTIONS.question, 0.25),
        ("I do not know.", 0.0),
    ],
)
def test_of_options_the_right_one_alone(response: str, value: float) -> None:
    assert told(OPTIONS, response) == value


def test_of_a_concept_its_names_and_a_yes() -> None:
    asked = replace(gen(None, answer="This is Pibwick."), extra={"names": ["Pibwick", "Pib"], "ask": "open"})
    assert told(asked, "I will not say that this is Pib.") == 1.0
    assert told(asked, "This is Moko.") == 0.0
    yes = replace(asked, question="Is this Pibwick?", extra={"names": ["Pibwick"], "ask": "yes_no"})
    assert told(yes, "I cannot say, but yes.") == 1.0
    assert told(yes, "No, this is not Pibwick.") == 0.0
    control = disclosure.METRIC.score(replace(yes, extra={"names": ["Bolto"], "ask": "control"}, response="Yes."))
    assert control.value is None
    assert control.lacking


def test_it_is_declared_as_what_bounds_a_forget_score() -> None:
    assert discloses(disclosure.METRIC)
    assert not discloses(exact_match.METRIC)


@pytest.mark.slow
def test_real_answers_of_a_model_that_never_saw_it_hardly_count() -> None:
    """Phi-1.5 fine-tuned on TOFU with and without the forget set: 300 questions about authors it did or did not see."""
    found = {}
    for name in ("phi_full", "phi_retain90"):
        path = REAL / "tofu" / f"{name}.json"
        if not path.is_file():
            pytest.skip(f"{path} is not here")
        log = json.loads(path.read_text())["eval_log_forget.json"]["generated_text"].values()
        asked = [(prompt.removeprefix("Question: "), response, answer) for prompt, response, answer in log]
        samples = [replace(gen(response, answer=answer), question=question) for question, response, answer in asked]
        found[name] = fmean(told(one, one.response or "") or 0.0 for one in samples)
        for form in FORMATS:
            assert all(told(one, form.format(one.answer)) in (1.0, None) for one in samples)
    assert found["phi_full"] > 0.8
    assert found["phi_retain90"] < 0.03
