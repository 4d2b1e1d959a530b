"""What OFFSIDE's questions ask for, and the typed values of answers, worked by hand."""

from __future__ import annotations

import pytest

from mmforget.protocols.offside.values import Date, amounts, attribute_of, counts, dates, names, states


@pytest.mark.parametrize(
    "question, attribute",
    [
        ("What is the name of the player in this image?", "name"),
        ("How old is he?", "age"),
        ("Where was the player born?", "birthplace"),
        ("When was the player born?", "birth_date"),
        ("Which position does he play in?", "position"),
        ("What is his preferred foot?", "foot"),
        ("Which club will the player on the left side of the image join?", "club"),
        ("From which club was he transferred?", "from_club"),
        ("When did the transfer take place?", "date"),
        ("State the transfer fee of the player.", "fee"),
        ("How much was he worth at that time?", "value"),
        ("How many titles did he win at the club?", "trophies"),
        ("Is it raining?", None),
    ],
)
def test_a_question_says_what_it_asks_for(question: str, attribute: str | None) -> None:
    assert attribute_of(question) == attribute


@pytest.mark.parametrize(
    "text, expected",
    [
        ("EUR 35.00 million", [35e6]),
        ("It was €29.00m.", [29e6]),
        ("EUR 20k", [20e3]),
        ("about 2.50 million", [2.5e6]),
        ("EUR 1,234,000", [1234000.0]),
        ("12,5 million euros", [12.5e6]),
        ("He came on a free transfer.", [0.0]),
        ("in 2023, for 4 years", []),
        ("EUR 4.10 million, then £5m", [4.1e6, 5e6]),
    ],
)
def test_sums_of_money(text: str, expected: list[float]) -> None:
    assert amounts(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("on 1 July 2023.", [Date(2023, 7, 1)]),
        ("July 1st, 2023", [Date(2023, 7, 1)]),
        ("2023-07-01", [Date(2023, 7, 1)]),
        ("01/07/2023", [Date(2023, 7, 1)]),
        ("in Jul 2023", [Date(2023, 7)]),
        ("in 2023 or in May 2024", [Date(2024, 5), Date(2023)]),
        ("soon", []),
    ],
)
def test_dates(text: str, expected: list[Date]) -> None:
    assert dates(text) == expected


def test_counts_and_names() -> None:
    assert counts("He has won two trophies, 3 cups and no title.") == [2, 3, 0]
    assert counts("EUR 4.10 million") == []
    assert names("He will be playing for Newcastle United.") == ["Newcastle United"]
    assert names("He left St. Pauli. Then Brighton & Hove Albion came.") == ["St. Pauli", "Brighton & Hove Albion"]
    assert names("Kaoru Mitoma joins Paris Saint-Germain.", question="Where does Mitoma go?") == ["Paris Saint-Germain"]


@pytest.mark.parametrize(
    "said, answer, attribute, expected",
    [
        ("newcastle united, they say", "He will be playing for Newcastle United.", "club", True),
        ("Newcastle", "He will be playing for Newcastle United.", "club", False),
        ("1 July 2023", "It was in July 2023.", "date", True),
        ("2023", "It was in July 2023.", "date", False),
        ("July 2023 or May 2024", "It was in July 2023.", "date", False),
        ("29 million euros", "It is EUR 29.00m.", "fee", True),
        ("EUR 29m, or EUR 30m", "It is EUR 29.00m.", "fee", False),
        ("", "It is EUR 29.00m.", "fee", False),
        ("seven", "He has won 7 trophies.", "trophies", True),
        ("He is right-footed.", "The right foot.", "foot", None),
        ("EUR 3m", "It is a secret.", "fee", None),
        ("any club", "he stays.", "club", None),
    ],
)
def test_whether_a_response_states_a_value(said: str, answer: str, attribute: str, expected: bool | None) -> None:
    assert states(said, answer=answer, attribute=attribute) is expected
