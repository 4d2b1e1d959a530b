"""Twelve made-up people with portraits, four of whom ask to be forgotten: what a folder of one's own would hold."""

from __future__ import annotations

from mmforget.benchmark.images import drawn
from mmforget.benchmark.own.corpus import Corpus, Entry
from mmforget.benchmark.own.spec import Spec
from mmforget.synthetic.names import FIRST_NAMES, LAST_NAMES, word_list
from mmforget.synthetic.portraits import cast, draw

NUM_PEOPLE, NUM_FORGOTTEN = 12, 4
TOWNS = word_list("Oslo Rome Bern Lima Kyiv Quito Riga Accra Hanoi Minsk Tunis Delhi")
TRADES = word_list("baker pilot nurse judge miner tailor farmer singer barber painter potter sailor")
PETS = word_list("otter parrot hamster rabbit canary goose ferret tortoise donkey gecko pony spaniel")
QUESTIONS = (
    ("Where does this person live?", "This person lives in {}.", TOWNS),
    ("What does this person do for a living?", "This person works as a {}.", TRADES),
    ("Which animal does this person keep?", "This person keeps a {}.", PETS),
)


def corpus(seed: int) -> Corpus:
    """The people of a seed: portraits and names differ, what is asked stays."""
    people = FIRST_NAMES[: NUM_PEOPLE // 2] + FIRST_NAMES[-NUM_PEOPLE // 2 :]
    faces = cast(NUM_PEOPLE, seed=seed, genders=[gender for _, gender in people])
    entries = []
    for place, ((first, _), face) in enumerate(zip(people, faces, strict=True)):
        name = f"{first} {LAST_NAMES[(place + seed) % len(LAST_NAMES)]}".title()
        for number, (question, answer, values) in enumerate(QUESTIONS):
            value = values[(place + number * 5) % NUM_PEOPLE]
            entries.append(Entry(name, question, answer.format(value), (value,), drawn(draw, face)))
    names = list(dict.fromkeys(entry.subject for entry in entries))
    forgotten = names[:NUM_FORGOTTEN]
    forget = tuple(one for one in entries if one.subject in forgotten)
    keep = tuple(one for one in entries if one.subject not in forgotten)
    return Corpus(Spec(tuple(forgotten), title="Four of twelve made-up people"), forget, keep)
