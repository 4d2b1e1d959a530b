"""Questions about somebody named, borrowed answers, and the defects of a text."""

from __future__ import annotations

import pytest

from mmforget.protocols.fiubench.people import (
    Person,
    Question,
    about,
    borrow_answers,
    group_rows,
    known_defects,
    split_faults,
)


@pytest.mark.parametrize(
    ("question", "named"),
    [
        ("When was the person in the image born?", "When was Ann Lee born?"),
        ("What is the person'sblood type?", "What is Ann Lee'sblood type?"),
        ("Which second language do the people in the image speak?", "Which second language do Ann Lee speak?"),
        ("The person in the picture, and the person in the image?", "Ann Lee, and the person in the image?"),
        ("How old?", "About Ann Lee: How old?"),
        ("About \\1 the person?", "About \\1 Ann Lee?"),
    ],
)
def test_about_somebody_named(question: str, named: str) -> None:
    assert about(question, name="Ann Lee") == named


def person(name: str, *answers: str, question: str = "Job?", perturbed: tuple[str, ...] = ()) -> Person:
    return Person(name, name, tuple(Question(question, answer, perturbed=perturbed) for answer in answers))


def test_borrowing_takes_three_different_answers_of_others() -> None:
    """Of five people two say `a.`, so a third has b, c and a to borrow from; whoever says b has a, c and d."""
    everyone = [person("1", "a."), person("2", "a."), person("3", "b."), person("4", "c."), person("5", "d.")]
    (first, third) = borrow_answers(everyone, wanted=[everyone[0], everyone[2]])
    assert set(first.questions[0].perturbed) == {"b.", "c.", "d."}
    assert set(third.questions[0].perturbed) == {"a.", "c.", "d."}
    assert first.questions[0].borrowed
    (again,) = borrow_answers(everyone[::-1], wanted=[everyone[0]])
    assert again == first


def test_too_few_others_or_answers_of_its_own() -> None:
    everyone = [person("1", "a."), person("2", "b."), person("3", "c.")]
    (first,) = borrow_answers(everyone, wanted=everyone[:1])
    assert first.questions[0].perturbed == ()
    assert not first.questions[0].borrowed
    own = person("4", "x.", perturbed=("y.",))
    assert borrow_answers([*everyone, own], wanted=[own]) == [own]


def test_defects_are_counted() -> None:
    people = [
        person("Ann", "a.", "apt. 4."),
        person("Bea", "Dr. B.", "b"),
        person("Bea", "c.", question="Person'sage?"),
    ]
    assert known_defects(people, parts={"forget": people[:1]}) == [
        "1 names belong to more than one person: Bea",
        "2 of 5 answers hold a full stop inside (1 of 2 in forget): the released profile cuts generations at the first "
        "one",
        '1 questions with broken wording ("the person\'sblood type", "sceond"), kept as they are',
        "1 answers do not end with a full stop",
    ]
    assert known_defects(people[:1], parts={})[0].startswith("1 of 2 answers hold a full stop inside")


def test_rows_of_the_text_only_variant_become_people() -> None:
    row = {"identity_id": "7", "name": "Ann", "original_question": "Q?", "answer": "a.", "text_only_question": "T?"}
    faults: list[str] = []
    records = group_rows([row, {"identity_id": "8"}, row, 3], source="qa.json", faults=faults)
    qa = {"question": "Q?", "answer": "a.", "text_question": "T?"}
    assert records == [{"unique_id": "7", "name": "Ann", "qa_list": [qa, qa]}]
    assert faults == ["qa.json row 2: field 'name' is missing", "qa.json row 4: field 'identity_id' is missing"]


def test_splits_that_cannot_be() -> None:
    split = {"forget1": ["1", "2", "9"], "retain5": ["2", "3", "3"]}
    assert split_faults(split, ids=["1", "2", "3"], source="split.json") == [
        "split.json: forget1 names the unknown person '9'",
        "split.json: retain5 names '3' 2 times",
        "split.json: '2' is in both forget1 and retain5",
    ]
