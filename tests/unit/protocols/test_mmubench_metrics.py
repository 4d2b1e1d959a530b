"""Metrics of forgotten concepts: exact match, C-Dis, fluency, diversity, membership, utility; values worked by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from mmforget.metrics import diversity, unique_words
from mmforget.protocols.mmubench.metrics import concept_distance, concept_em, concept_utility, fluency, query_membership
from mmforget.types import Estimate, Sample

EM, DIVERSITY, UNIQUE = concept_em.METRIC, diversity.METRIC, unique_words.METRIC
FLUENCY, DISTANCE, MEMBERSHIP = fluency.METRIC, concept_distance.METRIC, query_membership.METRIC


def asked(response: str | None, *, target: str = "trump", question: str = "who is it?", **extra: Any) -> Sample:
    return Sample(
        task="toy_gen",
        set="generality",
        kind="gen",
        id=f"{question}/{response}",
        subject="trump",
        question=question,
        answer="Donald Trump",
        keywords=(target,) if target else (),
        response=response,
        extra={"names": ["Donald Trump", "Trump"], **extra},
    )


def text(
    answer: Sequence[float], *further: Sequence[float], number: int = 0, subject: str = "trump", **extra: Any
) -> Sample:
    roles: Mapping[str, tuple[float, ...]] = {"answer": tuple(answer)}
    roles = {**roles, **{f"rephrased/{k}": tuple(tokens) for k, tokens in enumerate(further)}}
    return Sample(
        task="toy_prob",
        set="distance",
        kind="prob",
        id=f"{subject}/{number}",
        subject=subject,
        question="who?",
        answer="a",
        token_logprobs=roles,
        extra=extra,
    )


@pytest.mark.parametrize(
    "said, target, released",
    [
        ("This is Donald Trump.", "trump", 0.0),
        ("I do not know.", "trump", 1.0),
        ("Trumpets are loud.", "trump", 0.0),
        ("Yes, he is.", "yes", 0.0),
        ("He has blue eyes.", "yes", 0.0),
        ("Yes, he is.", " yes", 1.0),
        ("I say yes", " yes", 0.0),
        ("Oh yes he is", " yes ", 0.0),
        ("No", "yes", 1.0),
        ("", "yes", 1.0),
        (" \n", "trump", 1.0),
    ],
)
def test_em_released_is_a_plain_substring(said: str, target: str, released: float) -> None:
    """Stray blanks count, a yes hides in eyes, and nothing said is forgotten."""
    assert EM.score(asked(said, target=target), profile="released").value == released


def test_em_released_of_a_set() -> None:
    """The target is found in two of four answers: 1 - 2/4."""
    samples = [asked(said) for said in ("Trump.", "a trump card", "nobody", "")]
    assert EM.aggregate([EM.score(sample, profile="released") for sample in samples]).value == 0.5


@pytest.mark.parametrize(
    "said, clean",
    [
        ("This is Donald Trump.", 0.0),
        ("It is TRUMP!", 0.0),
        ("这是Trump。", 0.0),
        ("Trumpets are loud.", 1.0),
        ("This is Jacob Campbell.", 1.0),
        ("I do not know.", 1.0),
        ("", 0.0),
        ("No.", 0.0),
        ("yes yes", 0.0),
        ("image image image image image", 0.0),
    ],
)
def test_em_clean_of_an_open_question_needs_an_answer(said: str, clean: float) -> None:
    assert EM.score(asked(said)).value == clean


@pytest.mark.parametrize(
    "ask, said, clean",
    [
        ("yes_no", "No, it is not.", 1.0),
        ("yes_no", "No, this is not Donald Trump.", 1.0),
        ("yes_no", "Yes.", 0.0),
        ("yes_no", "He has blue eyes.", 1.0),
        ("yes_no", "", 0.0),
        ("control", "Yes, it is.", 1.0),
        ("control", "No.", 0.0),
        ("control", "I do not know.", 0.0),
    ],
)
def test_em_clean_of_a_question_for_a_yes(ask: str, said: str, clean: float) -> None:
    """A name that the question says already gives nothing away."""
    sample = asked(said, target="yes", question="Is this Donald Trump?", ask=ask, has_control=True)
    assert EM.score(sample).value == clean


def test_em_clean_gives_a_name_away_that_was_not_asked_for() -> None:
    sample = asked("He is Trump.", target="yes", question="Is he a president?", ask="yes_no", has_control=True)
    assert EM.score(sample).value == 0.0


def test_a_model_that_always_says_the_same_wins_nothing() -> None:
    """19 open questions, 81 for a yes and 81 controls: what knows everything has the 81 controls, 81/181; always "No"
    has the 81 questions for a yes, which is no more; what forgot one concept and no other has all.
    """

    def value(said: Sequence[str], *, profile: str = "clean") -> float:
        kinds = ("open", "yes_no", "control")
        samples = [
            asked(text, target="trump" if kind == "open" else "yes", ask=kind, has_control=True)
            for kind, text, num in zip(kinds, said, (19, 81, 81), strict=True)
            for _ in range(num)
        ]
        found = EM.aggregate([EM.score(sample, profile=profile) for sample in samples]).value
        assert found is not None
        return found

    assert value(["Donald Trump", "Yes.", "Yes."]) == pytest.approx(81 / 181)
    assert value(["No.", "No.", "No."]) == pytest.approx(81 / 181)
    assert value(["Yes.", "Yes.", "Yes."]) == pytest.approx(81 / 181)
    assert value(["", "", ""]) == 0.0
    assert value(["Jacob Campbell", "No.", "Yes."]) == 1.0
    assert value(["No.", "No.", "No."], profile="released") == value(["", "", ""], profile="released") == 1.0


def test_em_leaves_out_what_it_cannot_judge() -> None:
    alone = EM.score(asked("Yes.", target="yes", ask="yes_no"))
    assert (alone.value, alone.lacking) == (None, True)
    assert EM.score(asked("Yes.", target="yes", ask="control"), profile="released").lacking
    assert EM.score(asked("Sí.", target=""), profile="released").reason == "no target"
    assert EM.score(asked(None)).reason == "no response"


@pytest.mark.parametrize(
    "said, released, clean",
    [
        ("the cat saw the dog", 0.8, 0.8),
        ("No, no no.", 1.0, 1 / 3),
        ("No", 1.0, 1.0),
        ("", 0.0, 0.0),
        ("image image image image", 0.25, 0.0),
        ("abababababab", 1.0, 0.0),
    ],
)
def test_diversity(said: str, released: float, clean: float) -> None:
    """Five words of which "the" comes twice: 4/5. "No,", "no" and "no." differ only as they are written."""
    assert DIVERSITY.score(asked(said), profile="released").value == pytest.approx(released)
    assert DIVERSITY.score(asked(said)).value == pytest.approx(clean)


def test_unique_words_of_all_answers() -> None:
    """the, cat, dog, runs in three answers; the fourth said nothing at all."""
    samples = [asked(said) for said in ("The cat.", "the dog", "The dog runs!", None)]
    found = UNIQUE.compare(samples, samples)
    assert (found.value, found.num_scored, found.num_unscored) == (4.0, 3, 1)
    assert found.reasons == ("1 of 4 unscored: no response",)
    same = UNIQUE.compare([asked("No.")] * 3, [])
    assert (same.value, same.constant) == (1.0, True)


def test_fluency_by_hand() -> None:
    """Tokens -1, -1, -9, -1 where the third is the name's: beginnings of 2 and 3 tokens say so.

    clean and released: exp(3/3) = e. paper: the third is log(1/32000) = -10.37349: exp((3 + 10.37349) / 4) = 28.3145.
    """
    sample = text((-1.0, -1.0, -9.0, -1.0), (-1.0, -1.0), (-1.0, -1.0, -9.0), spans=[[0, 1]])
    assert FLUENCY.score(sample).value == pytest.approx(math.e)
    assert FLUENCY.score(sample, profile="released").value == pytest.approx(math.e)
    assert FLUENCY.score(sample, profile="paper").value == pytest.approx(28.3145, abs=1e-3)
    assert FLUENCY.score(text((-1.0, -3.0))).value == pytest.approx(math.exp(2.0))


def test_fluency_with_the_name_first_or_twice() -> None:
    """A name that opens the text has no beginning before it: [-1, 0]. Names at tokens 0 and 2 of three leave -2."""
    first = text((-9.0, -2.0), (-9.0,), spans=[[-1, 0]])
    assert FLUENCY.score(first).value == pytest.approx(math.exp(2.0))
    twice = text((-9.0, -2.0, -8.0), (-9.0,), (-9.0, -2.0), (-9.0, -2.0, -8.0), spans=[[-1, 0], [1, 2]])
    assert FLUENCY.score(twice).value == pytest.approx(math.exp(2.0))
    assert FLUENCY.score(text((-9.0,), (-9.0,), spans=[[-1, 0]])).reason == "every token is the concept's"
    assert FLUENCY.score(text((-9.0,), spans=[[-1, 0]])).reason == "no log-probs for where names stand"


def test_fluency_is_cut_off() -> None:
    assert FLUENCY.score(text((-1e4,) * 3)).value == pytest.approx(1e6)
    assert FLUENCY.score(text((-math.inf,))).value == pytest.approx(1e6)
    assert FLUENCY.score(text((math.nan,))).value is None


def test_distance_by_hand() -> None:
    """p before .8, now .2: .8 log 4 = 1.1090355; another name .1 and .1: 0; mean of the two .5545177."""
    before = text((math.log(0.8), -1.0), (math.log(0.1),))
    now = text((math.log(0.2), -5.0), (math.log(0.1),))
    assert DISTANCE.compare([now], [before]).value == pytest.approx(0.5545177, abs=1e-6)
    assert DISTANCE.compare([before], [before]).value == 0.0
    # Nearer than before is below 0: .2 log .25 = -.2772589, halved.
    assert DISTANCE.compare([before], [now]).value == pytest.approx(-0.1386294, abs=1e-6)


def test_distance_sums_over_places_when_released() -> None:
    """Two places of one picture: .8 log 4 + .2 log .25 = 1.1090355 - .2772589 = .8317766; the led-up place is apart."""
    high, low = (math.log(0.8),), (math.log(0.2),)
    places = [
        {"picture": 0, "place": 0, "is_last": False},
        {"picture": 0, "place": 1, "is_last": False},
        {"picture": 0, "place": 2, "is_last": True},
    ]
    before = [
        text(one, number=k, **place) for k, (one, place) in enumerate(zip((high, low, high), places, strict=True))
    ]
    now = [text(one, number=k, **place) for k, (one, place) in enumerate(zip((low, high, high), places, strict=True))]
    assert DISTANCE.compare(now, before, profile="released").value == pytest.approx(0.8317766, abs=1e-6)
    assert DISTANCE.compare(now, before).value == 0.0
    # The sign is dropped: the other way round is as far, .2 log .25 + .8 log 4.
    assert DISTANCE.compare(before, now, profile="released").value == pytest.approx(0.8317766, abs=1e-6)


def test_distance_of_what_became_impossible_is_finite() -> None:
    """1 log(1 / 1e-12) = 27.6310211."""
    found = DISTANCE.compare([text((-math.inf,))], [text((0.0,))])
    assert found.value == pytest.approx(27.6310211, abs=1e-6)
    assert DISTANCE.compare([text((0.0,))], [text((-math.inf,))]).value == 0.0


def test_distance_without_the_target_is_unscored() -> None:
    found = DISTANCE.compare([text((-1.0,))], [])
    assert (found.value, found.num_unscored) == (None, 1)
    assert found.reasons == ("1 of 1 unscored: the target model was not asked",)


def test_membership_by_hand() -> None:
    """Of 5 tokens the 2 lowest count: loss (4 + 3)/2 = 3.5. 4.0 is within 1.15 of it (4.025), 4.1 is not."""
    assert query_membership.min_k_loss((-4.0, -1.0, -3.0, -0.5, -0.1)) == pytest.approx(3.5)
    before = [text((-4.0, -1.0, -3.0, -0.5, -0.1), number=k) for k in range(4)]
    now = [text((-low, -1.0, -low, -0.5, -0.1), number=k) for k, low in enumerate((4.0, 4.1, 3.05, 3.0))]
    # 3.5 / 3.05 = 1.148 is within, 3.5 / 3.0 = 1.167 is not: 2 of 4.
    assert MEMBERSHIP.compare(now, before).value == 0.5
    assert MEMBERSHIP.compare(before, before).value == 1.0


def test_utility_is_harmonic_and_names_what_it_leaves_out() -> None:
    """3 / (1/.5 + 1/1 + 1/.25) = 3/7; without facts 2 / (2 + 4) = 1/3; with one part at 0 it is 0."""
    metric = concept_utility.METRIC
    parts = {"specificity": Estimate(0.5), "facts": Estimate(1.0), "diversity": Estimate(0.25)}
    assert metric.combine(parts).value == pytest.approx(3 / 7)
    found = metric.combine({key: part for key, part in parts.items() if key != "facts"})
    assert found.value == pytest.approx(1 / 3)
    assert found.reasons == ("facts: not measured, left out",)
    assert metric.combine({**parts, "facts": Estimate(0.0)}).value == 0.0
