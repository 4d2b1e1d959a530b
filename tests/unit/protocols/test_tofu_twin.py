"""The twin's authors: distinct, worded as they are trained and asked, with wrong answers of the same kind."""

from __future__ import annotations

import pytest

from mmforget.benchmark import DataSource, find
from mmforget.metrics.disclosure import METRIC as disclosure
from mmforget.protocols.tofu import twin
from mmforget.protocols.tofu.official import NUM_QUESTIONS, PER_AUTHOR
from mmforget.types import Sample

pytestmark = pytest.mark.slow

DATA = DataSource("synthetic")


def test_sizes_of_every_setting() -> None:
    """48 authors of 8 facts in 8 wordings, of whom the last 2, 4 or 6 are forgotten; 16 + 16 things known."""
    for setting, num in twin.FORGOTTEN.items():
        bound = find(f"tofu_{setting}").bind(DATA)
        assert {name: bound.num_rows(name) for name in bound.benchmark.set_names} == {
            "full": 48 * 8 * 8,
            "full_retain": (48 - num) * 8 * 8,
            "forget": num * 8,
            "retain": (48 - num) * 8,
            "retain_perturbed": 8 * 8,
            "rephrase": num * 8,
            "holdout": 8 * 8,
            "real_authors": 16,
            "world_facts": 16,
            "known": 32 * 8,
        }


def test_authors_are_distinct_and_depend_on_the_seed() -> None:
    first, again, other = (twin.corpus(seed) for seed in (0, 0, 1))
    assert first == again
    assert first.questions != other.questions
    everyone = [*first.questions, *first.holdout]
    assert len({one.question for one in everyone}) == len(everyone) == 56 * 8
    names = {one.question.removeprefix("What is the birthday of ") for one in everyone[::8]}
    assert len(names) == 56


def test_wrong_answers_are_worded_like_the_paraphrase_and_wrong() -> None:
    for one in twin.corpus(0).questions:
        assert len(set(one.perturbed)) == twin.NUM_WRONG
        assert one.rephrased_answer not in one.perturbed
        begins = {answer.split()[0] for answer in (*one.perturbed, one.rephrased_answer)}
        assert len(begins) == 1
        assert one.rephrased_question not in one.wordings
        assert one.wordings[0] == one.question


def test_an_answer_tells_more_than_its_frame() -> None:
    """What another author's answer discloses of an author's own: only what both happen to share."""
    questions = twin.corpus(0).questions
    told = []
    for place, one in enumerate(questions):
        sample = Sample(
            task="", set="forget", kind="gen", id=str(place), subject="", question=one.question, answer=one.answer,
            response=questions[(place + 8) % len(questions)].answer,
        )  # fmt: skip
        told.append(disclosure.score(sample).value or 0.0)
        assert disclosure.score(Sample(**{**vars(sample), "response": one.answer})).value == 1.0
    assert sum(told) / len(told) < 0.1


def test_rows_that_are_measured_are_among_those_that_are_trained() -> None:
    bound = find("tofu").bind(DATA)
    trained = {(row["subject"], row["question"], row["answer"]) for row in bound.rows("full_retain")}
    measured = {(row["subject"], row["question"], row["answer"]) for row in bound.rows("retain_perturbed")}
    assert measured <= trained
    known = set(bound.column("known", "question"))
    assert {*bound.column("real_authors", "question"), *bound.column("world_facts", "question")} <= known


def test_the_official_files_have_twenty_questions_an_author() -> None:
    assert NUM_QUESTIONS == 200 * PER_AUTHOR
