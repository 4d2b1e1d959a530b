"""Invented news and tales in the form of MUSE's files, from a seed.

A document says six things about one invented person, a sentence each in one of two frames; what is verbatim is which
frame, and the long values. Each is asked as a question, in four wordings for training, and the first two sentences
are a beginning. Stage one teaches all of it: a small model does not learn to answer from documents alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from mmforget.protocols.muse import words
from mmforget.protocols.muse.official import BEGINNINGS, NUM_FOLDS, QUESTIONS, SCALED, SEQUENCE, Corpus, Pair
from mmforget.synthetic.names import FIRST_NAMES, LAST_NAMES, MONTHS
from mmforget.synthetic.wordings import crossed

FOLD, NUM_RETAIN, NUM_HOLDOUT = 10, 12, 12
NUM_FIRST = 2
"""Sentences of a beginning."""
NUM_WORDINGS = 4
FRAMES = (
    "What is the {noun} of {subject}?",
    "Can you name the {noun} of {subject}?",
    "Could you state the {noun} of {subject}, please?",
    "Which {noun} does {subject} have?",
)


class Fact(NamedTuple):
    """One thing that a document says: how it is asked for, drawn, and said in two ways."""

    nouns: tuple[str, str, str]
    draw: Callable[[random.Random], str]
    sentences: tuple[str, str]


class Article(NamedTuple):
    """A document with what is asked about it."""

    name: str
    text: str
    questions: tuple[Pair, ...]
    beginning: Pair


def _two(first: Sequence[str], second: Sequence[str], *, between: str = " ") -> Callable[[random.Random], str]:
    return lambda rng: f"{rng.choice(first)}{between}{rng.choice(second)}"


def _date(rng: random.Random) -> str:
    return f"{rng.randint(1, 28)} {rng.choice(MONTHS).capitalize()} {rng.randint(1920, 1989)}"


def _work(rng: random.Random) -> str:
    return f"the {rng.choice(words.ADJECTIVES)} {rng.choice(words.WORKS)} of {rng.choice(words.TOWNS)}"


def _person(rng: random.Random) -> str:
    return f"{rng.choice(FIRST_NAMES)[0]} {rng.choice(LAST_NAMES)}".title()


_place = _two(words.TOWNS, words.REGIONS, between=" in ")
_job = _two(words.PLACES, words.TRADES)
_tool = _two(words.ADJECTIVES, words.TOOLS)
_beast = _two(words.COLOURS, words.BEASTS)
_fears = _two(words.FEARS, words.FEARS, between=" and ")

NEWS = (
    Fact(("town", "home town", "seat"), _place, ("{name} now leads {value}.", "The head of {value} is {name}.")),
    Fact(
        ("vote day", "election day", "day of the vote"), _date, ("The vote was on {value}.", "They voted on {value}.")
    ),
    Fact(("old job", "former trade", "earlier work"), _job, ("Before, a {value}.", "Once a {value}.")),
    Fact(("plan", "promise", "project"), _work, ("The plan is to mend {value}.", "Soon comes {value}.")),
    Fact(("rival", "opponent", "main critic"), _person, ("The rival was {value}.", "It was lost by {value}.")),
    Fact(("helper", "deputy", "adviser"), _person, ("The deputy is {value}.", "Help comes from {value}.")),
)
BOOKS = (
    Fact(("home", "birthplace", "dwelling"), _place, ("{name} grew up at {value}.", "At {value} lived {name}.")),
    Fact(("gift", "treasure", "heirloom"), _tool, ("In a box lay a {value}.", "There was a {value}.")),
    Fact(("pet", "companion", "animal"), _beast, ("It was watched by a {value}.", "Near it sat a {value}.")),
    Fact(("teacher", "master", "tutor"), _person, ("The lessons came from {value}.", "The tutor was {value}.")),
    Fact(("fear", "dread", "terror"), _fears, ("Worst were {value}.", "Nothing was feared like {value}.")),
    Fact(("quest", "search", "goal"), _work, ("The search was for {value}.", "Far away lay {value}.")),
)


def corpora(seed: int) -> Mapping[str, Corpus]:
    """The twins of both: four folds of ten documents (of books one), 12 and 12 kept, and 12 that nobody has seen."""
    return {
        "news": _corpus(NEWS, name="news", folds=NUM_FOLDS, seed=seed),
        "books": _corpus(BOOKS, name="books", folds=1, seed=seed),
    }


def _corpus(facts: Sequence[Fact], *, name: str, folds: int, seed: int) -> Corpus:
    sizes = [*[FOLD] * folds, NUM_RETAIN, NUM_RETAIN, NUM_HOLDOUT]
    people = _names(sum(sizes), seed=f"{seed}/{name}")
    articles = [_article(person, facts=facts, rng=random.Random(f"{seed}/{name}/{person}")) for person in people]
    starts = [sum(sizes[:place]) for place in range(len(sizes))]
    *forgotten, retain1, retain2, holdout = (
        articles[start : start + size] for start, size in zip(starts, sizes, strict=True)
    )
    everything = [article for fold in forgotten for article in fold]
    tables = {
        "raw/forget": forgotten[0], "raw/retain1": retain1, "raw/retain2": retain2, "privleak/forget": forgotten[0],
        "privleak/holdout": holdout, "train/forget": everything, "train/retain1": retain1, "train/retain2": retain2,
    }  # fmt: skip
    if folds > 1:
        tables |= {table: everything[: FOLD * (fold + 1)] for fold, table in enumerate(SCALED)}
        tables |= dict(zip(SEQUENCE, forgotten, strict=True))
    documents = {table: tuple(one.text for one in found) for table, found in tables.items()}
    subjects = {table: tuple(one.name for one in found) for table, found in tables.items()}
    asked = dict(zip(QUESTIONS, (forgotten[0], [*retain1, *retain2]), strict=True))
    pairs = {table: tuple(pair for one in found for pair in one.questions) for table, found in asked.items()}
    pairs |= {BEGINNINGS: tuple(one.beginning for one in forgotten[0])}
    pairs |= {"train/beginnings": tuple(one.beginning for one in (*everything, *retain1, *retain2))}
    return Corpus(documents, subjects, pairs, True, (), {"generator_seed": seed})


def _names(count: int, *, seed: str) -> list[str]:
    """First and last names are used once each."""
    rng = random.Random(seed)
    first, last = [given for given, _ in FIRST_NAMES], list(LAST_NAMES)
    rng.shuffle(first)
    rng.shuffle(last)
    return [f"{one} {other}".title() for one, other in zip(first[:count], last[:count], strict=True)]


def _article(name: str, *, facts: Sequence[Fact], rng: random.Random) -> Article:
    values = [fact.draw(rng) for fact in facts]
    said = [
        rng.choice(fact.sentences).format(name=name, value=value) for fact, value in zip(facts, values, strict=True)
    ]
    questions = tuple(
        _question(fact, index=index, name=name, value=value)
        for index, (fact, value) in enumerate(zip(facts, values, strict=True))
    )
    beginning = Pair(" ".join(said[:NUM_FIRST]), " ".join(said[NUM_FIRST:]), name, tuple(values[NUM_FIRST:]))
    return Article(name, " ".join(said), questions, beginning)


def _question(fact: Fact, *, index: int, name: str, value: str) -> Pair:
    trained, _ = crossed(FRAMES, fact.nouns, index=index, subject=name)
    return Pair(trained[0], f"{value[0].upper()}{value[1:]}.", name, (value,), tuple(trained[:NUM_WORDINGS]))
