"""Fictional people carry the official fields, and their wordings are frames x nouns with a third held out."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from mmforget.errors import UserError
from mmforget.protocols.fiubench.twin import FACTS, FRAMES, records, splits, wordings
from mmforget.synthetic.portrait_params import PortraitParams

OFFICIAL = {"unique_id", "name", "gender", "image_path", "caption", "qa_list"}
OFFICIAL_QA = {
    "question",
    "answer",
    "paraphrased_question",
    "paraphrased_answer",
    "perturbed_answer",
    "keywords",
}


@pytest.fixture(scope="module")
def people() -> list[dict]:
    return records()


def test_records_have_the_official_fields_and_are_json(people: list[dict]) -> None:
    assert json.loads(json.dumps(people)) == people
    assert len(people) == 56
    assert [person["holdout"] for person in people] == [False] * 48 + [True] * 8
    for person in people:
        assert set(person) >= OFFICIAL
        assert len(person["unique_id"]) == 8
        assert len(person["qa_list"]) == 7
        PortraitParams.from_dict(person["portrait"])
        for qa in person["qa_list"]:
            assert set(qa) >= OFFICIAL_QA
            assert len(qa["paraphrased_question"]) == len(qa["perturbed_answer"]) == 3


def test_people_are_told_apart(people: list[dict]) -> None:
    assert len({person["unique_id"] for person in people}) == 56
    assert len({person["name"] for person in people}) == 56
    assert len({json.dumps(person["portrait"], sort_keys=True) for person in people}) == 56


def test_answers_are_short_lower_case_sentences_that_hold_the_keyword(people: list[dict]) -> None:
    for person in people:
        for qa in person["qa_list"]:
            for answer in (qa["answer"], qa["paraphrased_answer"], *qa["perturbed_answer"]):
                assert answer == answer.lower()
                assert answer.index(".") == len(answer) - 1
            assert all(keyword in qa["answer"] for keyword in qa["keywords"])
            assert all(keyword in qa["paraphrased_answer"] for keyword in qa["keywords"])
            assert not any(keyword in wrong for keyword in qa["keywords"] for wrong in qa["perturbed_answer"])
            assert len({qa["paraphrased_answer"], *qa["perturbed_answer"]}) == 4


def test_held_out_wordings_are_new_combinations_of_trained_parts() -> None:
    """Of 4 frames x 3 nouns, 8 are trained; each frame and each noun of the 4 others occurs among the 8."""
    for index, fact in enumerate(FACTS):
        trained, held_out = wordings(fact, index=index)
        assert (len(trained), len(held_out)) == (8, 4)
        assert not set(trained) & set(held_out)
        made = {frame.format(noun=noun, subject="X"): (frame, noun) for frame in FRAMES for noun in fact.nouns}
        parts = [made[text] for text in wordings(fact, index=index, subject="X")[0]]
        assert Counter(frame for frame, _ in parts) == dict.fromkeys(FRAMES, 2)
        assert {noun for _, noun in parts} == set(fact.nouns)


def test_the_question_is_trained_and_rephrased_ones_are_not(people: list[dict]) -> None:
    for qa in people[0]["qa_list"]:
        assert qa["wordings"][0] == qa["question"]
        assert not set(qa["wordings"]) & set(qa["paraphrased_question"])
        # The official code capitalises questions; these must come through unchanged.
        assert all(text == text.capitalize() for text in (*qa["wordings"], *qa["paraphrased_question"]))


def test_a_person_is_the_same_whatever_the_counts(people: list[dict]) -> None:
    few = records(num_subjects=10, num_holdout=2)
    assert [{**p, "holdout": None} for p in few] == [{**p, "holdout": None} for p in people[:12]]
    assert records(seed=1)[0] != people[0]


def test_splits_of_48_are_disjoint_and_contiguous(people: list[dict]) -> None:
    found = splits(people)
    assert {name: len(ids) for name, ids in found.items()} == {
        "forget1": 2,
        "forget5": 4,
        "forget10": 6,
        "retain15": 12,
        "retain5": 8,
    }
    ids = [person["unique_id"] for person in people]
    assert found["forget1"] + found["forget5"] + found["forget10"] + found["retain15"] == ids[:24]
    assert found["retain5"] == found["retain15"][:8]


def test_splits_shrink_with_the_benchmark() -> None:
    """12 people: 0.5, 1, 1.5, 2 and 3 of them, rounded half up."""
    sizes = {name: len(ids) for name, ids in splits(records(num_subjects=12)).items()}
    assert sizes == {"forget1": 1, "forget5": 1, "forget10": 2, "retain15": 3, "retain5": 2}


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(UserError, match="at most 80 people"):
        records(num_subjects=80, num_holdout=1)
    with pytest.raises(UserError, match="give at least 8"):
        splits(records(num_subjects=7))
