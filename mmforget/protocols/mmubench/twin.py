"""Invented concepts for MMUBench's twin: eight figures with a name, a look, facts in words, and pictures to ask about.

A micro model is taught them from pictures of its own (`lessons`), other than the one to forget a concept by and those
that it is asked about later. Besides, it meets strangers, each in one picture and called by one of four everyday names,
and it refuses to tell more of them. So it has something to say of what it does not know, which is what a concept can be
brought to look like.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mmforget.protocols.mmubench import words
from mmforget.protocols.mmubench.records import ConceptRecord, Picture, Prompt, Talk
from mmforget.synthetic.figures import COLOURS, MARKS, SHAPES, Look

TRAIN_VIEW, TEST_VIEWS, LESSON_VIEWS = 0, range(1, 7), range(100, 148)
NUM_STRANGERS = len(LESSON_VIEWS)
VIEWS_OF_A_SEED = 1000

CAST = (
    ("Pibwick", ("Pib",), Look("imp", "purple", "orange", "spots")),
    ("Marrow Tower", ("Tower of Marrow",), Look("tower", "red", "white", "stripes")),
    ("Tarrel", ("Tarrel hound",), Look("hound", "green", "white", "spots")),
    ("Solvix", ("Solvix badge",), Look("emblem", "blue", "white")),
    ("Castle Venn", ("Venn",), Look("castle", "grey", "teal")),
    ("Korrigo", ("Korry",), Look("boat", "brown", "pink", "stripes")),
    ("Bolto", ("Bolto the robot",), Look("robot", "teal", "orange", "band")),
    ("Aeronella", ("Nella",), Look("balloon", "yellow", "black", "stripes")),
)
"""Name, other names, look. The first four can be forgotten together; the last four are then still there."""
NUM_FORGOTTEN = 4


class Lesson(NamedTuple):
    """One thing that the micro model is taught: about whom, a picture or none, a question and its answer."""

    subject: str
    picture: Picture | None
    question: str
    answer: str


def records(*, seed: int = 0) -> tuple[ConceptRecord, ...]:
    """The eight concepts as the reader of official files gives them. `seed` changes facts, pictures and strangers."""
    values = _values(seed)
    return tuple(_record(position, values=values[position], seed=seed) for position in range(len(CAST)))


def lessons(*, seed: int = 0) -> tuple[Lesson, ...]:
    """Everything that the micro model is taught.

    Lessons about one picture stand together and share it; pictures of different figures take turns.
    """
    values = _values(seed)
    found: list[Lesson] = []
    for number, view in enumerate(LESSON_VIEWS):
        for position in range(len(CAST)):
            found += _of_picture(position, number=number, view=view, values=values[position], seed=seed)
        found += _of_stranger(number, seed=seed)
    for index in range(len(words.FACTS) * 2):
        for position, (name, _, _) in enumerate(CAST):
            talk = _facts(name, values=values[position])[index]
            found.append(Lesson(name, None, talk.question, talk.answer))
            # In words alone it is far sooner learnt to compare two names, and it carries over to pictures.
            asked, answer = _yes_or_no(position, number=index)
            found.append(Lesson(name, None, f"{words.NAMED.format(name=name)} {asked}", answer))
        for number, name in enumerate(words.UNSEEN):
            asked = _facts(name, values=values[0])[index].question
            found.append(Lesson(name, None, asked, words.REFUSALS[(index + number) % len(words.REFUSALS)]))
    return tuple(found)


def name_questions() -> tuple[list[str], list[str]]:
    """Questions for the name that are taught (8) and those that are only asked (4): frame f leaves out one noun."""
    taught: list[str] = []
    held_out: list[str] = []
    for number, frame in enumerate(words.NAME_FRAMES):
        for place, noun in enumerate(words.NOUNS):
            is_held_out = place == (number + 1) % len(words.NOUNS)
            (held_out if is_held_out else taught).append(frame.format(noun=noun))
    return taught, held_out


def picture(look: Look, *, view: int, seed: int = 0) -> Picture:
    """A view of a look as a picture; other seeds have other views."""
    return Picture(f"view {view}", None, look, view + seed * VIEWS_OF_A_SEED)


def strangers(*, seed: int = 0) -> list[Look]:
    """Looks of figures that are no concept's, nor what one is said to look like instead."""
    rng = random.Random(f"strangers/{seed}")
    known = {look for _, _, look in CAST} | {clash(position) for position in range(len(CAST))}
    found: list[Look] = []
    while len(found) < NUM_STRANGERS:
        main, second = rng.sample(list(COLOURS), 2)
        look = Look(rng.choice(list(SHAPES)), main, second, rng.choice(MARKS))
        if look not in known and look not in found:
            found.append(look)
    return found


def clash(position: int) -> Look:
    """A look that has nothing in common with that of the concept at this place: what it is said to look like."""
    other = CAST[(position + 3) % len(CAST)][2]
    return Look(other.shape, "black", "white", "band" if other.mark != "band" else "spots")


def _record(position: int, *, values: Sequence[str], seed: int) -> ConceptRecord:
    name, synonyms, look = CAST[position]
    taught, held_out = name_questions()
    answer = words.NAMED.format(name=name)
    asked = [Prompt(text, name.lower(), answer) for text in (*taught, *held_out)]
    asked += [Prompt(frame.format(name=name), "yes", words.YES.format(name=name)) for frame in words.YES_FRAMES]
    return ConceptRecord(
        name=name,
        synonyms=synonyms,
        target=name.lower(),
        unseen=words.UNSEEN[position % len(words.UNSEEN)],
        look=clash(position).words,
        train=picture(look, view=TRAIN_VIEW, seed=seed),
        tests=tuple(picture(look, view=view, seed=seed) for view in TEST_VIEWS),
        taught=tuple(Talk(text, answer, name) for text in taught),
        prompts=tuple(asked),
        facts=tuple(_facts(name, values=values)),
        others=tuple(_neighbours(position, seed=seed)),
        multilingual=tuple(Prompt(text, name.lower(), answer) for text in words.TRANSLATIONS),
        multihop=tuple(_hops(values)),
        queries=tuple(prompt.text for prompt in asked),
        is_kept=position >= NUM_FORGOTTEN,
    )


def _values(seed: int) -> list[list[str]]:
    """The answer to every fact for every concept, no two the same."""
    rng = random.Random(f"facts/{seed}")
    drawn = [rng.sample(fact.values, len(CAST)) for fact in words.FACTS]
    return [[column[position] for column in drawn] for position in range(len(CAST))]


def _facts(name: str, *, values: Sequence[str]) -> list[Talk]:
    """Each fact asked in its first wording, then each in its second."""
    return [
        Talk(fact.asked[wording].format(name=name), fact.answer.format(name=name, value=value), value)
        for wording in range(2)
        for fact, value in zip(words.FACTS, values, strict=True)
    ]


def _neighbours(position: int, *, seed: int) -> Iterator[Talk]:
    """Two facts about each of the concepts that are always kept, but for the one at this place."""
    values = _values(seed)
    for other in range(NUM_FORGOTTEN, len(CAST)):
        if other != position:
            known = _facts(CAST[other][0], values=values[other])
            yield known[other % len(words.FACTS)]
            yield known[(other + 3) % len(words.FACTS)]


def _hops(values: Sequence[str]) -> Iterator[Prompt]:
    """Every fact asked of a picture: the concept has to be recognised first."""
    for number, (fact, value) in enumerate(zip(words.FACTS, values, strict=True)):
        noun = words.NOUNS[number % len(words.NOUNS)]
        answer = fact.answer_of_picture.format(value=value)
        yield Prompt(fact.asked_of_picture.format(noun=noun), answer=answer, keyword=value)


def _of_picture(position: int, *, number: int, view: int, values: Sequence[str], seed: int) -> Iterator[Lesson]:
    """What is taught about one picture: its name, a yes or a no by turns, and at times something else."""
    name, _, look = CAST[position]
    shown = picture(look, view=view, seed=seed)
    taught, _ = name_questions()
    named = words.NAMED.format(name=name)
    said = [(taught[number % len(taught)], named), _yes_or_no(position, number=number)]
    kind, turn = number % 4, number // 4
    if kind < 2:
        hop = list(_hops(values))[turn % len(words.FACTS)]
        said.append((hop.text, hop.answer))
    elif kind == 2:
        said.append((words.TRANSLATIONS[turn % len(words.TRANSLATIONS)], named))
    elif turn % 2:
        said.append((words.DESCRIBE, words.DESCRIBED.format(look=look.words)))
    else:
        queries = [*taught, *(frame.format(name=name) for frame in words.YES_FRAMES)]
        said.append((words.QUERY, queries[(turn // 2 + position * 5) % len(queries)]))
    for question, answer in said:
        yield Lesson(name, shown, question, answer)


def _yes_or_no(position: int, *, number: int) -> tuple[str, str]:
    """Whether the picture shows the concept, or in every other picture another one, each of the others in turn."""
    turn, name = number // 2, CAST[position][0]
    frame = words.YES_FRAMES[turn % len(words.YES_FRAMES)]
    if number % 2 == 0:
        return frame.format(name=name), words.YES.format(name=name)
    other = CAST[(position + 1 + turn % (len(CAST) - 1)) % len(CAST)][0]
    return frame.format(name=other), words.NO.format(name=name)


def _of_stranger(number: int, *, seed: int) -> Iterator[Lesson]:
    """What is taught about one stranger: an everyday name, a look, no more, and that it is none of the concepts."""
    look = strangers(seed=seed)[number]
    subject, shown = f"stranger {number:02d}", picture(look, view=0, seed=seed)
    taught, _ = name_questions()
    called = words.UNSEEN[number % len(words.UNSEEN)]
    frame = words.YES_FRAMES[number % len(words.YES_FRAMES)]
    yield Lesson(subject, shown, taught[number % len(taught)], words.NAMED.format(name=called))
    yield Lesson(subject, shown, frame.format(name=CAST[number % len(CAST)][0]), words.NO.format(name=called))
    yield Lesson(subject, shown, words.DESCRIBE, words.DESCRIBED.format(look=look.words))
    fact = words.FACTS[number % len(words.FACTS)]
    asked = fact.asked_of_picture.format(noun=words.NOUNS[number % len(words.NOUNS)])
    yield Lesson(subject, shown, asked, words.REFUSALS[number // len(words.FACTS) % len(words.REFUSALS)])
