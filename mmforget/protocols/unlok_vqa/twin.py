"""Invented things for UnLOK-VQA's twin: what each looks like, and one fact about it that a picture does not show.

A micro model is taught all of it beforehand, as a real one brings its facts along (`lessons`): from pictures of its
own, plain, noisy and with something beside the thing, in every wording. Each fact is then deleted alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from mmforget.protocols.unlok_vqa.drawing import Scene
from mmforget.protocols.unlok_vqa.records import Fact, Picture, Talk
from mmforget.protocols.unlok_vqa.words import (
    COLOUR_QUESTION,
    KINDS,
    LURES,
    NO,
    NOUNS,
    PREFIXES,
    SHAPE_QUESTION,
    YES,
    YES_QUESTION,
)
from mmforget.synthetic.figures import Look

NUM_THINGS, NUM_FACTS = 24, 16
"""Things that the model knows, and those of them of which a fact is deleted: the first ones."""
VIEW, HARD_VIEW, NEIGHBOUR_VIEWS, LESSON_VIEWS = 0, 1, (2, 3), range(100, 130)
VIEWS_OF_A_SEED = 1000
SHAPES = ("imp", "tower", "hound", "emblem", "castle", "boat", "robot", "balloon")
COLOURS = (("purple", "orange"), ("red", "white"), ("green", "yellow"), ("blue", "white"), ("brown", "pink"),
           ("teal", "orange"))  # fmt: skip


class Lesson(NamedTuple):
    """One thing that the micro model is taught: of which thing, a picture, a question and its answer."""

    key: str
    picture: Picture
    question: str
    answer: str


def things() -> list[Look]:
    """The looks, all different: three of each shape, each in another colour; two shapes share a kind of fact."""
    return [
        Look(
            SHAPES[number % len(SHAPES)], *COLOURS[(number % len(SHAPES) + 2 * (number // len(SHAPES))) % len(COLOURS)]
        )
        for number in range(NUM_THINGS)
    ]


def facts(*, seed: int = 0) -> tuple[Fact, ...]:
    """The fact of every thing; only the first `NUM_FACTS` are to be deleted. `seed` changes answers and pictures."""
    answers = _answers(seed)
    return tuple(_fact(number, answers=answers, seed=seed) for number in range(NUM_THINGS))


def lessons(*, seed: int = 0) -> tuple[Lesson, ...]:
    """Everything that the micro model is taught; lessons about one picture stand together."""
    answers = _answers(seed)
    found: list[Lesson] = []
    for turn, view in enumerate((VIEW, *LESSON_VIEWS)):
        for number in range(NUM_THINGS):
            found += _of_picture(number, turn=turn, view=view, answer=answers[number], seed=seed)
    return tuple(found)


def key_of(number: int) -> str:
    return f"{number:03d}"


def _answers(seed: int) -> list[str]:
    """The answer to the fact of every thing: within a kind no two are the same, and two values are left over."""
    rng = random.Random(f"unlok_vqa/{seed}")
    drawn = [rng.sample(kind.values, len(kind.values)) for kind in KINDS]
    return [drawn[number % len(KINDS)][number // len(KINDS)] for number in range(NUM_THINGS)]


def _fact(number: int, *, answers: list[str], seed: int) -> Fact:
    look, kind, noun = things()[number], KINDS[number % len(KINDS)], NOUNS[number // len(KINDS) % len(NOUNS)]
    other = (number + len(KINDS)) % NUM_THINGS
    unused = sorted(set(kind.values) - set(answers))
    # As in some official records, the neighbouring pictures of every fourth thing of a kind show the first alternative.
    shown = 0 if number // len(KINDS) % 4 == 3 else 1
    alternatives = (answers[other], *unused) if shown == 0 else (unused[0], answers[other], *unused[1:])
    return Fact(
        key=key_of(number),
        question=_asked(number, wording=0, noun=noun),
        answer=answers[number],
        noun=noun,
        target=look.shape,
        paraphrases=tuple(_asked(number, wording=wording, noun=noun) for wording in range(1, len(kind.asked))),
        alternatives=alternatives,
        shown=shown,
        neighbours=tuple(_seen(number, noun=noun)),
        picture=_shown(look, view=VIEW, seed=seed),
        rephrased={
            "easy": _shown(look, view=VIEW, seed=seed, noise=number),
            "medium": _shown(look, view=VIEW, seed=seed, beside=number),
            "hard": _shown(look, view=HARD_VIEW, seed=seed),
        },
        neighbouring={
            level: _shown(things()[other], view=view, seed=seed)
            for level, view in zip(("easy", "hard"), NEIGHBOUR_VIEWS, strict=True)
        },
    )


def _asked(number: int, *, wording: int, noun: str) -> str:
    return KINDS[number % len(KINDS)].asked[wording].format(noun=noun)


def _seen(number: int, *, noun: str) -> Iterator[Talk]:
    """What a picture of the thing shows: its shape, its colour, and a yes or a no."""
    look = things()[number]
    yield Talk(SHAPE_QUESTION, look.shape.capitalize())
    yield Talk(COLOUR_QUESTION.format(noun=noun), look.main.capitalize())
    other = SHAPES[(SHAPES.index(look.shape) + 1 + number // len(SHAPES)) % len(SHAPES)]
    yield Talk(YES_QUESTION.format(shape=look.shape), YES)
    yield Talk(YES_QUESTION.format(shape=other), NO)


def _shown(look: Look, *, view: int, seed: int, noise: int | None = None, beside: int | None = None) -> Picture:
    return Picture(look=Scene(look, view + seed * VIEWS_OF_A_SEED, noise, beside))


def _of_picture(number: int, *, turn: int, view: int, answer: str, seed: int) -> Iterator[Lesson]:
    """The fact in one of its wordings, and two things that are to be seen; by turns pictures are noisy or show
    something else as well, and other words stand before the fact's question, which changes no answer. Every thing is
    called every noun, so that no question tells which thing is meant.
    """
    noise = 1000 + turn * NUM_THINGS + number if turn % 4 == 1 else None
    beside = turn + number if turn % 4 == 3 else None
    picture = _shown(things()[number], view=view, seed=seed, noise=noise, beside=beside)
    wording, noun = turn % len(KINDS[number % len(KINDS)].asked), NOUNS[turn // 3 % len(NOUNS)]
    seen = list(_seen(number, noun=noun))
    words = _before(turn, noun=noun, target=things()[number].shape)
    question = words + _asked(number, wording=wording, noun=noun)
    said = [Talk(question, answer), seen[turn % len(seen)], seen[(turn + 1) % len(seen)]]
    for talk in said:
        yield Lesson(key_of(number), picture, talk.question, talk.answer)


def _before(turn: int, *, noun: str, target: str) -> str:
    """Words before a question: at every second turn none."""
    every = [*PREFIXES, *LURES]
    return "" if turn % 2 == 0 else every[turn // 2 % len(every)].format(noun=noun, target=target)
