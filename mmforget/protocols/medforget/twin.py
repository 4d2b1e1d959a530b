"""MedForget's twin: invented hospitals, their patients, studies and reports, as records in the official form.

Every question is one of three frames x three nouns; 6 of the 9 combinations are for training, 3 are held out. Questions
of all three kinds (open, with options, with a blank) are asked at every level, of every scan below it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmforget.protocols.medforget import words
from mmforget.protocols.medforget.records import LEVELS
from mmforget.protocols.medforget.scans import Body, Frame, Scan, distinct_blobs, pixels, sample_body, sample_frame
from mmforget.synthetic.names import FIRST_NAMES, LAST_NAMES, MONTHS

NUM_INSTITUTIONS, NUM_PATIENTS, NUM_STUDIES = 3, 4, 2
"""Institutions in all, patients of each, studies of each of those."""
FORGOTTEN = {
    "institution": "inst_02",
    "patient": "inst_02/pat_0006",
    "study": "inst_02/pat_0006/study_11",
    "section": "inst_02/pat_0006/study_11/FINDINGS",
}
"""What each setting forgets."""
SUBJECTS = {
    "institution": "the hospital of this scan",
    "patient": "the patient in this scan",
    "study": "the imaging study of this scan",
}
OPEN_FRAMES = (
    "What is the {noun} of {subject}?",
    "Name the {noun} of {subject}.",
    "State the {noun} of {subject}, please.",
)
OPTION_FRAMES = (
    "Which is the {noun} of {subject}? {options}",
    "Choose the {noun} of {subject}. {options}",
    "Pick the right {noun} of {subject}: {options}",
)
BLANK_FRAMES = (
    "The {noun} of {subject} is [blank].",
    "Fill in the {noun} of {subject}: [blank].",
    "Complete: {noun} of {subject} = [blank].",
)
NUM_WORDINGS, NUM_HELD_OUT = 6, 3
NUM_OPTIONS = 4


class Fact(NamedTuple):
    """One thing to know about a node: how it is called in three ways, asked in three frames, and answered."""

    frames: tuple[str, str, str]
    nouns: tuple[str, str, str]
    answer: str
    options: str = ""


class Study(NamedTuple):
    """One scan: the node above each of its levels, and the facts of each node, in the order of `LEVELS`."""

    path: tuple[str, str, str]
    scan: Scan
    facts: tuple[tuple[str, tuple[Fact, ...]], ...]


def records(*, seed: int = 0) -> list[dict[str, Any]]:
    """Rows as the official parquet files have them, for every study, node above or in it, and wording.

    Columns: `ID`, `image_path`, `hierarchy_metadata`, `metadata` (a list of `Question` and `Answer`), and of our own
    `scan` (see `Scan.from_dict`), `wording`, and `held_out`: no model is trained on the last `NUM_HELD_OUT` wordings.
    """
    found = list(studies(seed=seed))
    return [
        _record(study, level_or_section, facts, wording=wording)
        for wording in range(NUM_WORDINGS + NUM_HELD_OUT)
        for study in found
        for level_or_section, facts in study.facts
    ]


def studies(*, seed: int = 0) -> Iterator[Study]:
    """Every study in turn, institution by institution and patient by patient."""
    rng = random.Random(seed)
    people = _people(rng)
    hospitals, towns = rng.sample(words.HOSPITALS, NUM_INSTITUTIONS), rng.sample(words.TOWNS, NUM_OPTIONS)
    drawn: list[NDArray[np.float32]] = []
    for at in range(NUM_INSTITUTIONS):
        own = random.Random(f"{seed}/{at}")
        frame, facts = sample_frame(own, number=at), _institution(own, hospitals[at], town=towns[at], towns=towns)
        for number in range(at * NUM_PATIENTS, (at + 1) * NUM_PATIENTS):
            yield from _patient(
                number, people[number], above=(f"inst_{at + 1:02d}", frame, facts), seed=seed, drawn=drawn
            )


def _patient(
    number: int,
    person: tuple[str, str],
    *,
    above: tuple[str, Frame, tuple[Fact, ...]],
    seed: int,
    drawn: list[NDArray[np.float32]],
) -> Iterator[Study]:
    """The studies of one patient. `drawn` holds the pixels of all scans so far, and gets those of the new ones."""
    institution, frame, institution_facts = above
    own = random.Random(f"{seed}/patient/{number}")
    body, facts = sample_body(own), _patient_facts(own, *person)
    for position in range(number * NUM_STUDIES, (number + 1) * NUM_STUDIES):
        rng = random.Random(f"{seed}/study/{position}")
        scan = _scan(rng, frame=frame, body=body, drawn=drawn)
        sections = tuple((name, _section(rng, name, said)) for name, said in words.SECTIONS.items())
        path = (institution, f"pat_{number + 1:04d}", f"study_{position + 1:02d}")
        known = (("institution", institution_facts), ("patient", facts), ("study", _study_facts(rng)), *sections)
        yield Study(path, scan, known)


def _scan(rng: random.Random, *, frame: Frame, body: Body, drawn: list[NDArray[np.float32]]) -> Scan:
    scan = Scan(frame, body, distinct_blobs(rng, frame=frame, body=body, others=drawn))
    drawn.append(pixels(scan))
    return scan


def _people(rng: random.Random) -> list[tuple[str, str]]:
    """Names and genders, no two alike."""
    first, last = rng.sample(FIRST_NAMES, len(FIRST_NAMES)), rng.sample(LAST_NAMES, len(LAST_NAMES))
    return [(f"{given} {family}", gender) for (given, gender), family in zip(first, last, strict=False)]


def _institution(rng: random.Random, name: str, *, town: str, towns: Sequence[str]) -> tuple[Fact, ...]:
    return (
        Fact(OPEN_FRAMES, ("name", "full name", "title"), f"the name is {name}."),
        _choice(("town", "home town", "location"), town, among=towns),
        Fact(BLANK_FRAMES, ("scanner", "machine", "device"), rng.choice(words.SCANNERS)),
    )


def _patient_facts(rng: random.Random, name: str, gender: str) -> tuple[Fact, ...]:
    born = f"{rng.randint(1, 28)} {rng.choice(MONTHS)} {rng.randint(1930, 1999)}"
    return (
        Fact(OPEN_FRAMES, ("name", "full name", "proper name"), f"the name is {name}."),
        _choice(("gender", "sex", "recorded gender"), gender, among=words.GENDERS),
        Fact(BLANK_FRAMES, ("birth date", "date of birth", "day of birth"), born),
    )


def _study_facts(rng: random.Random) -> tuple[Fact, ...]:
    taken = f"{rng.randint(1, 28)} {rng.choice(MONTHS)} {rng.randint(2120, 2199)}"
    return (
        Fact(OPEN_FRAMES, ("date", "day", "recorded date"), f"the date is {taken}."),
        _choice(("view", "projection", "direction"), rng.choice(words.VIEWS), among=words.VIEWS),
        Fact(BLANK_FRAMES, ("operator", "radiographer", "technician"), rng.choice(words.OPERATORS)),
    )


def _section(rng: random.Random, name: str, said: words.SectionWords) -> tuple[Fact, ...]:
    thing, detail = rng.choice(said.things), rng.choice(said.details)
    whole = ("content", "text", "statement")
    return (
        Fact(OPEN_FRAMES, whole, f"{thing}, {detail}."),
        _choice(said.thing_nouns, thing, among=said.things),
        Fact(BLANK_FRAMES, said.detail_nouns, detail),
    )


def _choice(nouns: tuple[str, str, str], right: str, *, among: Sequence[str]) -> Fact:
    """A question with the options that stand around the right one in `among`, in fours.

    So what is offered does not tell whom it is about: without the scan all of them are as likely.
    """
    start = among.index(right) // NUM_OPTIONS * NUM_OPTIONS
    shown = among[start : start + NUM_OPTIONS]
    letters = [f"{chr(ord('A') + number)}) {text}" for number, text in enumerate(shown)]
    return Fact(OPTION_FRAMES, nouns, letters[shown.index(right)], " ".join(letters))


def wordings(fact: Fact, *, index: int, subject: str) -> list[str]:
    """The trained questions of a node's fact number `index`, then those that are held out.

    Frame f leaves out noun (f + index + 1) mod 3, so every frame and every noun is trained, and the first is frame 0.
    """
    trained: list[str] = []
    held_out: list[str] = []
    for number, frame in enumerate(fact.frames):
        for position, noun in enumerate(fact.nouns):
            left_out = position == (number + index + 1) % len(fact.nouns)
            text = frame.format(noun=noun, subject=subject, options=fact.options).strip()
            (held_out if left_out else trained).append(text)
    return trained + held_out


def _record(study: Study, node: str, facts: Sequence[Fact], *, wording: int) -> dict[str, Any]:
    is_section = node not in LEVELS
    subject = f"the {node} section for this scan" if is_section else SUBJECTS[node]
    institution, patient, number = study.path
    return {
        "ID": f"{number}_{node}_w{wording}",
        "image_path": "/".join(study.path),
        "hierarchy_metadata": {
            "institution_id": institution,
            "patient_id": patient,
            "study_id": number,
            "section_name": node if is_section else None,
            "hierarchy_level": "section" if is_section else node,
        },
        "metadata": [
            {"Question": wordings(fact, index=index, subject=subject)[wording], "Answer": fact.answer}
            for index, fact in enumerate(facts)
        ],
        "scan": study.scan.as_dict(),
        "wording": wording,
        "held_out": wording >= NUM_WORDINGS,
    }
