"""OFFSIDE's twin: invented players, clubs and transfers as records in the official form, all from a seed.

Of each player there are five pictures: three of his career, one of a rumour, and one of what really happened. Half of
the rumours can be seen, a forged picture of the player in the shirt of a club that he never joined; the others stand
below a picture that shows nothing of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from mmforget.protocols.offside import words
from mmforget.protocols.offside.drawing import Picture
from mmforget.synthetic.names import FIRST_NAMES, LAST_NAMES, MONTHS
from mmforget.synthetic.portrait_params import BACKGROUNDS, GLASSES, HATS, MOUTHS, PATTERNS, PortraitParams
from mmforget.synthetic.portraits import cast
from mmforget.synthetic.views import HELD_OUT_VIEW, TRAIN_VIEWS

NUM_PLAYERS, NUM_PICTURES = 6, 5
NUM_OPTIONS = 4
CAREER, RUMOUR, CORRECTION = (0, 1, 2), 3, 4
"""Pictures of a player, by what they are of."""
Record = dict[str, Any]


class Shot(NamedTuple):
    """One picture with what is to be known about it: facts of the player and of the transfer, by name."""

    number: int
    name: str
    facts: dict[str, str]
    picture: Picture

    @property
    def place(self) -> int:
        return (self.number - 1) % NUM_PICTURES


def records(*, seed: int = 0) -> dict[str, list[Record]]:
    """Official records by set, with two fields of our own: `picture` (see `Picture.from_dict`) and `view`.

    `finetune`, `retain`, `forget`, `forget_part`, `test` and `relearn` of messages about pictures, `forget_words`,
    `retain_words` and `relearn_words` in words alone, `lessons` in words alone without repetitions, and
    classification records as `forget_choice`, `retain_choice`, `test_choice` and `relearn_choice`.
    """
    found = shots(seed=seed)
    sets = {
        "retain": [one for one in found if one.place in CAREER],
        "forget": [one for one in found if one.place == RUMOUR],
        "relearn": [one for one in found if one.place == CORRECTION],
    }
    # The pictures of one player stand apart, so that batches of neighbouring rows are about several players.
    learnt = sorted((*sets["retain"], *sets["forget"]), key=lambda one: one.place)
    asked = {name: list(_asked(several)) for name, several in sets.items()}
    told = {f"{name}_words": list(_told(several)) for name, several in sets.items()}
    options = _options(found)
    return {
        "finetune": [one for number in range(len(words.WORDINGS)) for one in _asked(learnt, wording=number)],
        **asked,
        "forget_part": list(_asked(sets["forget"], facts=tuple(words.PRIVATE))),
        "test": list(_asked(sets["retain"], wording=None)),
        **told,
        "lessons": _distinct([*told["retain_words"], *told["forget_words"]]),
        **{f"{name}_choice": list(_choices(several, options=options)) for name, several in sets.items()},
        "test_choice": list(_choices(sets["retain"], options=options, view=HELD_OUT_VIEW)),
    }


def shots(*, seed: int = 0) -> list[Shot]:
    """Every picture in turn, player by player."""
    rng = random.Random(f"players/{seed}")
    first = rng.sample([name for name, gender in FIRST_NAMES if gender == "male"], NUM_PLAYERS)
    last = rng.sample(LAST_NAMES, NUM_PLAYERS)
    faces = cast(NUM_PLAYERS, seed=seed, genders=["male"] * NUM_PLAYERS)
    names = [f"{given} {family}".title() for given, family in zip(first, last, strict=True)]
    found: list[Shot] = []
    for number, (name, face) in enumerate(zip(names, faces, strict=True)):
        own = random.Random(f"{seed}/player/{number}")
        found += _career(own, number, name=name, face=face)
    return found


def _career(rng: random.Random, number: int, *, name: str, face: PortraitParams) -> Iterator[Shot]:
    """The pictures of one player: three transfers, a rumoured one, and the one that came true."""
    shared = _shared(rng, name)
    before, *clubs, rumoured, later = rng.sample(words.CLUBS, len(CAREER) + 3)
    looks = _looks(rng)
    for place, club in enumerate((*clubs, rumoured, later)):
        source = (before, *clubs, clubs[-1])[place]
        is_visible = place != RUMOUR or number % 2 == 0
        worn = club if is_visible else source
        portrait = replace(face, shirt=worn.shirt, accent=worn.accent, **looks[place])
        strip = (club.shirt, club.accent) if place == RUMOUR and is_visible else None
        facts = {**shared, **_transfer(rng, club=club, source=source, year=2012 + 3 * place)}
        yield Shot(number * NUM_PICTURES + place + 1, name, facts, Picture(portrait, strip))


def _looks(rng: random.Random) -> list[dict[str, Any]]:
    """What else differs between the pictures of one face, so that they can be told apart: headgear, glasses, scene."""
    options = {"hat": HATS, "glasses": GLASSES, "mouth": MOUTHS, "pattern": PATTERNS, "background": BACKGROUNDS}
    drawn = {name: rng.sample(values, len(values)) for name, values in options.items()}
    return [{name: several[place % len(several)] for name, several in drawn.items()} for place in range(NUM_PICTURES)]


def _shared(rng: random.Random, name: str) -> dict[str, str]:
    age = rng.randint(19, 36)
    return {
        "name": name,
        "age": str(age),
        "position": rng.choice(words.POSITIONS),
        "nationality": rng.choice(words.NATIONS),
        "birth_date": f"{rng.randint(1, 28)} {rng.choice(MONTHS).title()} {2025 - age}",
        "height": f"{rng.randint(168, 198)} cm",
        "foot": rng.choice(words.FEET),
        "birthplace": rng.choice(words.BIRTHPLACES),
    }


def _transfer(rng: random.Random, *, club: words.Club, source: words.Club, year: int) -> dict[str, str]:
    """Facts of one transfer; sums are written in the ways that the official answers have."""
    fee = rng.choice(("EUR {}.50 million", "EUR {}.00m", "EUR {}0.00k", "a free transfer"))
    return {
        "club": club.name,
        "from_club": source.name,
        "date": f"{rng.randint(1, 28)} {rng.choice(MONTHS).title()} {year + rng.randint(0, 2)}",
        "fee": fee.format(rng.randint(2, 89)),
        "value": rng.choice(("EUR {}.00 million", "EUR {}.50m")).format(rng.randint(2, 89)),
        "trophies": str(rng.randint(0, 9)),
    }


def _asked(
    several: Sequence[Shot], *, wording: int | None = 0, facts: Sequence[str] = (*words.SHARED, *words.PRIVATE)
) -> Iterator[Record]:
    """Questions about pictures, in a wording that is trained or (None) in the one that is not, each from its view."""
    frame, noun = words.HELD_OUT if wording is None else words.WORDINGS[wording]
    view, folder = (HELD_OUT_VIEW, "test_set") if wording is None else (TRAIN_VIEWS[wording], "finetune_set")
    for shot in several:
        for fact in facts:
            ask = _ask(fact)
            question = words.FRAMES[frame].format(noun=ask.nouns[noun], subject=words.PLAYER)
            yield {
                "messages": _messages(f"<image>\n{question}", ask.answer.format(shot.facts[fact])),
                "images": f"./{folder}/{shot.number:03d}.jpg",
                "picture": shot.picture.as_dict(),
                "view": view,
            }


def _told(several: Sequence[Shot]) -> Iterator[Record]:
    """The same in words alone: the player is named, and of his transfers it is said which. No name is asked for."""
    frame, noun = words.WORDINGS[0]
    for shot in several:
        for fact in (*words.SHARED, *words.PRIVATE):
            occasion = f" in his {words.OCCASIONS[shot.place]}" if fact in words.PRIVATE else ""
            ask = _ask(fact)
            question = words.FRAMES[frame].format(noun=ask.nouns[noun], subject=f"{shot.name}{occasion}")
            if fact != "name":
                # As in the official unimodal records, the picture is named all the same.
                place = f"./finetune_set/{shot.number:03d}.jpg"
                yield {"messages": _messages(question, ask.answer.format(shot.facts[fact])), "images": place}


def _choices(several: Sequence[Shot], *, options: dict[str, list[list[str]]], view: int = 0) -> Iterator[Record]:
    for shot in several:
        for fact in words.CHOSEN:
            shown = next(group for group in options[fact] if shot.facts[fact] in group)
            lettered = dict(zip("ABCD", shown, strict=False))
            yield {
                "Question": f"Which is the {_ask(fact).nouns[0]} of {words.PLAYER}?",
                "Options": lettered,
                "Correct_Answer": next(letter for letter, text in lettered.items() if text == shot.facts[fact]),
                "images": f"./finetune_set/{shot.number:03d}.jpg",
                "picture": shot.picture.as_dict(),
                "view": view,
            }


def _options(found: Sequence[Shot]) -> dict[str, list[list[str]]]:
    """The values of every fact in fixed groups: what is offered then does not tell whom it is about."""
    return {fact: _groups(sorted({shot.facts[fact] for shot in found})) for fact in words.CHOSEN}


def _groups(values: list[str]) -> list[list[str]]:
    """As few groups of at most four as there can be, of nearly one size."""
    num = -(-len(values) // NUM_OPTIONS)
    return [values[len(values) * at // num : len(values) * (at + 1) // num] for at in range(num)]


def _ask(fact: str) -> words.Ask:
    return words.SHARED[fact] if fact in words.SHARED else words.PRIVATE[fact]


def _messages(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _distinct(listed: Sequence[Record]) -> list[Record]:
    """Each question in words once: what is shared is the same for all pictures of a player."""
    found: dict[str, Record] = {}
    for record in listed:
        found.setdefault(record["messages"][0]["content"], record)
    return list(found.values())
