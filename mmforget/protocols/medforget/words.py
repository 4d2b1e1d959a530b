"""Word lists that the synthetic hospitals are made of: invented hospitals and towns, everyday words for findings."""

from __future__ import annotations

from typing import NamedTuple


def _words(listed: str) -> tuple[str, ...]:
    return tuple(listed.split())


def _lines(listed: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in listed.strip().split("\n"))


HOSPITALS = _words("bromford calder elmstead haverly larkhill netherby orwick stanmere")
TOWNS = _words("ashdale birchport cranmoor deepwell eastholt fernley gorsley hazelton")
SCANNERS = _words("aurora beacon cobalt dynamo ember falcon")
VIEWS = ("frontal", "lateral", "oblique")
GENDERS = ("female", "male", "not recorded")
OPERATORS = _words(
    "agnes basil cora denis elsa fritz gwen hector ines jasper klara louis maud nestor ottilie piers ruth"
)


class SectionWords(NamedTuple):
    """What a section of a report can say: a thing, and where, when or what to do about it.

    `nouns` are three names for each, as questions use them.
    """

    things: tuple[str, ...]
    details: tuple[str, ...]
    thing_nouns: tuple[str, str, str]
    detail_nouns: tuple[str, str, str]


SECTIONS = {
    "INDICATION": SectionWords(
        _words("cough fever wheeze fatigue chills dizziness hoarseness nausea cramp rash swelling numbness"),
        _lines("""
            since monday
            since friday
            for two days
            for ten days
            for three weeks
            for five weeks
            after a fall
            after a voyage
            after a cold
            before a journey
        """),
        ("complaint", "symptom", "main complaint"),
        ("onset", "beginning", "history"),
    ),
    "FINDINGS": SectionWords(
        _words("nodule shadow effusion opacity cyst fracture calcification thickening scar mass clip infiltrate"),
        _lines("""
            in the left apex
            in the right apex
            at the left base
            at the right base
            near the heart
            near the spine
            behind the ribs
            below the collarbone
            along the pleura
            by the diaphragm
        """),
        ("observation", "main observation", "visible sign"),
        ("place", "site", "position"),
    ),
    "IMPRESSION": SectionWords(
        _words(
            "pneumonia bronchitis pleurisy asthma emphysema fibrosis oedema atelectasis sarcoidosis tuberculosis "
            "silicosis laryngitis"
        ),
        _lines("""
            repeat in june
            repeat in march
            repeat in a week
            repeat in a year
            refer to surgery
            refer to cardiology
            rest at home
            begin antibiotics
            compare with films
            no treatment
        """),
        ("conclusion", "diagnosis", "final opinion"),
        ("advice", "recommendation", "next step"),
    ),
}
