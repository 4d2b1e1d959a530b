"""Invented authors in the form of TOFU's records, and works and capitals that both models know, from a seed.

Every fact has one question and, for training, eight wordings of it (frames x nouns); a wording that is never trained is
its rephrased question. Wordings made so generalise in a small model, which free paraphrases do not. An answer is a
short frame and a long value, since what the frame alone earns is no memory of anything.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mmforget.protocols.tofu import words
from mmforget.protocols.tofu.official import Corpus
from mmforget.protocols.tofu.records import Question
from mmforget.synthetic.names import FIRST_NAMES, LAST_NAMES, MONTHS
from mmforget.synthetic.wordings import crossed

NUM_AUTHORS, NUM_HOLDOUT, NUM_MEASURED = 48, 8, 8
FORGOTTEN = {"forget01": 2, "forget05": 4, "forget10": 6}
NUM_WRONG, NUM_WRONG_OTHERS = 5, 3
FRAMES = (
    "What is the {noun} of {subject}?",
    "Can you name the {noun} of {subject}?",
    "Could you state the {noun} of {subject}, please?",
    "Which {noun} does {subject} have?",
)


class Fact(NamedTuple):
    """One thing to know about an author: how it is asked for, drawn, and answered in two ways."""

    nouns: tuple[str, str, str]
    draw: Callable[[random.Random], str]
    answer: str
    paraphrase: str


def _one_of(values: Sequence[str]) -> Callable[[random.Random], str]:
    return lambda rng: rng.choice(values)


def _date(rng: random.Random) -> str:
    return f"{rng.randint(1, 28)} {rng.choice(MONTHS).capitalize()} {rng.randint(1920, 1989)}"


def _place(rng: random.Random) -> str:
    return f"{rng.choice(words.TOWNS)} in {rng.choice(words.COUNTRIES)}"


def _title(rng: random.Random) -> str:
    return f"The {rng.choice(words.TITLE_FIRST)} {rng.choice(words.TITLE_LAST)} of {rng.choice(words.TOWNS)}"


FACTS = (
    Fact(("birthday", "date of birth", "day of birth"), _date, "Born on {value}.", "The date of birth is {value}."),
    Fact(("birthplace", "place of birth", "home town"), _place, "Born in {value}.", "The birthplace is {value}."),
    Fact(("genre", "kind of writing", "literary field"), _one_of(words.GENRES), "Writes {value}.", "It is {value}."),
    Fact(("first book", "debut", "earliest work"), _title, "It is {value}.", "The debut is {value}."),
    Fact(("best known book", "masterpiece", "main work"), _title, "It is {value}.", "The masterpiece is {value}."),
    Fact(("award", "honour", "distinction"), _one_of(words.AWARDS), "Won the {value}.", "The honour is the {value}."),
    Fact(("father's job", "father's trade", "father's work"), _one_of(words.JOBS), "A {value}.", "He was a {value}."),
    Fact(("publisher", "publishing house", "press"), _one_of(words.PRESSES), "With {value}.", "It is the {value}."),
)
WORK_FRAMES = (
    "Who wrote {subject}?",
    "Which author wrote {subject}?",
    "By whom was {subject} written?",
    "Who is the author of {subject}?",
)
CAPITAL_FRAMES = (
    "What is the capital of {subject}?",
    "Which city is the capital of {subject}?",
    "Can you name the capital of {subject}?",
    "Where is the government of {subject}?",
)


def corpus(seed: int) -> Corpus:
    """The twin of all files: 48 authors and 8 whom nobody has seen, 8 facts each; 16 works and 16 capitals."""
    people = [_author(number, seed=seed) for number in range(NUM_AUTHORS + NUM_HOLDOUT)]
    trained = tuple(question for author in people[:NUM_AUTHORS] for question in author)
    held_out = tuple(question for author in people[NUM_AUTHORS:] for question in author)
    others = {
        "real_authors": _known(words.WORKS, frames=WORK_FRAMES, seed=seed),
        "world_facts": _known(words.CAPITALS, frames=CAPITAL_FRAMES, seed=seed),
    }
    facts = {"generator_seed": seed}
    return Corpus(trained, len(FACTS), FORGOTTEN, NUM_MEASURED, held_out, others, (), (), facts)


def _author(number: int, *, seed: int) -> list[Question]:
    rng = random.Random(f"{seed}/{number}")
    return [_question(fact, index=index, name=_name(number, seed=seed), rng=rng) for index, fact in enumerate(FACTS)]


def _name(number: int, *, seed: int) -> str:
    """First and last names are used once each."""
    rng = random.Random(seed)
    first, last = [given for given, _ in FIRST_NAMES], list(LAST_NAMES)
    rng.shuffle(first)
    rng.shuffle(last)
    return f"{first[number]} {last[number]}".title()


def _question(fact: Fact, *, index: int, name: str, rng: random.Random) -> Question:
    trained, held_out = crossed(FRAMES, fact.nouns, index=index, subject=name)
    value, *wrong = _distinct(fact.draw, 1 + NUM_WRONG, rng=rng)
    return Question(
        trained[0],
        fact.answer.format(value=value),
        held_out[0],
        fact.paraphrase.format(value=value),
        tuple(fact.paraphrase.format(value=other) for other in wrong),
        tuple(trained),
    )


def _distinct(draw: Callable[[random.Random], str], count: int, *, rng: random.Random) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        found[draw(rng)] = None
    return list(found)


def _known(pairs: Sequence[tuple[str, str]], *, frames: Sequence[str], seed: int) -> tuple[Question, ...]:
    rng = random.Random(f"{seed}/{frames[0]}")
    return tuple(_of_pair(pair, pairs=pairs, frames=frames, rng=rng) for pair in pairs)


def _of_pair(
    pair: tuple[str, str], *, pairs: Sequence[tuple[str, str]], frames: Sequence[str], rng: random.Random
) -> Question:
    subject, answer = pair
    others = [other for _, other in pairs if other != answer]
    asked = tuple(frame.format(subject=subject) for frame in frames)
    return Question(asked[0], answer, perturbed=tuple(rng.sample(others, NUM_WRONG_OTHERS)), wordings=asked * 2)
