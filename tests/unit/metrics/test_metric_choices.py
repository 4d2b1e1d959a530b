"""Which option an answer names: forms that mean the letter, and texts that hold it and mean something else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from metric_samples import gen

from mmforget.metrics.choices import chosen, options_of
from mmforget.protocols.medforget.metrics import answer_accuracy

OPTIONS = {"A": "Pneumonia", "B": "small nodule", "C": "effusion", "D": "B cell lymphoma", "E": "hepatitis B"}
QUESTION = "Which finding? " + " ".join(f"{letter}) {text}" for letter, text in OPTIONS.items())
FORMS = (
    "B", "b", "B.", "B)", "(B)", "(b)", "[B]", "b.", "**B**", "*B*", "`B`", '"B"', "'B'", "\uff22", "$\\boxed{B}$",
    "<answer>B</answer>", "B nodule", "B small nodule", "B) small nodule", "B, small nodule", "B - small nodule",
    "B: nodule", "B because of its size", "Option B", "option b", "Option B.", "Choice (B)", "The answer is B",
    "the answer is b.", "The correct answer is **B**.", "The correct option is: B) small nodule", "Answer: B",
    "Final answer: (B) small nodule", "The answer is option B", "It is B.", "It's B", "I choose B.",
    "I think the answer is B.", "I would go with B.", "La respuesta es B.", "Die Antwort lautet B.", "La réponse est B",
    "答案是B", "答案：B。", "Small nodule.", "The answer is small nodule.", "The answer is\nB", "**Answer:**\n\n**B**",
    "It is not A. It is B.", "The answer is B, not C",
)  # fmt: skip
NONE = (
    "The answer is not B", "It is not B.", "The answer isn't B.", "I don't think the answer is B.", "It cannot be B",
    "Option B is wrong", "B or C", "Either B or C", "Both A and B", "B and C", "A/B", "Option A, B", "A small nodule",
    "a small nodule", "I do not know.", "I", "Z", "because", "Plan B", "vitamin B", "The answer is a nodule",
    "A) Pneumonia B) small nodule C) effusion", "", "?",
)  # fmt: skip


@pytest.mark.parametrize("said", FORMS)
@pytest.mark.parametrize("answer", ["B", "B) small nodule", "small nodule"])
def test_an_option_is_read_however_it_is_written(said: str, answer: str) -> None:
    sample = replace(gen(said, answer=answer), question=QUESTION)
    assert answer_accuracy.METRIC.score(sample).value == 1.0
    assert answer_accuracy.METRIC.score(replace(sample, answer="C) effusion")).value == 0.0


@pytest.mark.parametrize("said", NONE)
def test_what_names_no_option_or_several_is_never_right(said: str) -> None:
    assert chosen(said, options=OPTIONS) is None
    for letter, text in OPTIONS.items():
        sample = replace(gen(said, answer=f"{letter}) {text}"), question=QUESTION)
        assert answer_accuracy.METRIC.score(sample).value == 0.0


@pytest.mark.parametrize(
    "said, letter",
    [
        ("B cell lymphoma", "D"),
        ("The answer is B cell lymphoma.", "D"),
        ("hepatitis B", "E"),
        ("A", "A"),
        ("A pneumonia", "A"),
        ("The answer is A", "A"),
        ("the answer is a", "A"),
        ("A) small nodule", "A"),
        ("The answer is C, not B", "C"),
    ],
)
def test_letters_that_are_words_or_parts_of_options(said: str, letter: str) -> None:
    assert chosen(said, options=OPTIONS) == letter


def test_options_that_are_letters_themselves() -> None:
    """A letter alone is the option's letter, not its text."""
    assert chosen("B", options={"A": "B", "B": "O"}) == "B"
    assert chosen("O", options={"A": "B", "B": "O"}) == "B"


def test_options_one_a_line() -> None:
    assert options_of("Which?\nA. cat\nB. dog\n") == {"A": "cat", "B": "dog"}
    assert options_of("Which?\nA: cat\nB: dog") == {"A": "cat", "B": "dog"}
    assert options_of("J. R. Smith\nB. Bauer is who?") == {"J": "R. Smith", "B": "Bauer is who?"}
