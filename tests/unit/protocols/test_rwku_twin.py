"""RWKU's twin: a fact is one person's alone, probes ask what was not trained as it stands, and seeds differ."""

from __future__ import annotations

from collections import Counter

from mmforget.protocols.rwku.records import ATTACKS, Passage, Question
from mmforget.protocols.rwku.twin import NUM_NEIGHBOURS, corpus

FACTS = 6


def questions(name: str) -> list[Question]:
    return list(corpus(0).questions[name])


def test_sizes() -> None:
    made = corpus(0)
    assert len(made.targets) == 4
    counts = {name: len(rows) for name, rows in made.questions.items()}
    assert counts == {
        "forget_level1": 4 * FACTS,
        "forget_level2": 4 * FACTS,
        "forget_level3": 4 * FACTS * len(ATTACKS),
        "neighbour_level1": 4 * NUM_NEIGHBOURS * FACTS,
        "neighbour_level2": 4 * NUM_NEIGHBOURS * FACTS,
        "general": 12,
        "reason": 12,
        "truthfulness": 6,
        "factuality": 10,
        "fluency": 4,
    }
    assert Counter(one.type for one in questions("forget_level3")) == dict.fromkeys(ATTACKS, 4 * FACTS)


def test_no_value_is_two_peoples() -> None:
    """So that a reverse query has one answer."""
    told = {(one.subject, one.answer) for one in corpus(0).lessons if isinstance(one, Question)}
    assert max(Counter(value for _, value in told).values()) == 1


def test_attacks_ask_what_is_not_taught_as_it_stands() -> None:
    taught = {one.question for one in corpus(0).taught if isinstance(one, Question)}
    asked = [one for one in questions("forget_level3") if one.type != "reverse query"]
    assert not [one for one in asked if one.question in taught]
    assert {one.question for one in questions("forget_level2")} <= taught
    assert {one.question for one in questions("neighbour_level1")} <= taught


def test_right_options_are_among_the_choices() -> None:
    for one in questions("forget_level3"):
        if one.type == "multiple choice":
            assert one.question.count(one.answer) == 1
    for one in questions("general"):
        assert one.gold is not None
        assert one.answer == "ABCD"[one.gold]
        assert len(set(one.choices)) == 4


def test_neighbours_are_no_targets() -> None:
    made = corpus(0)
    about = {one.question for one in made.questions["neighbour_level2"]}
    assert not [text for text in about if any(name in text for name in made.targets)]
    assert {one.subject for one in made.questions["neighbour_level2"]} == set(made.targets)
    assert not [text for text in made.passages["mia_retain"] if any(name in text.text for name in made.targets)]


def test_a_seed_is_the_same_people_and_another_seed_others() -> None:
    assert corpus(1) == corpus(1)
    assert not set(corpus(0).targets) & set(corpus(1).targets)
    assert all(isinstance(one, Passage | Question) for one in corpus(1).taught)
