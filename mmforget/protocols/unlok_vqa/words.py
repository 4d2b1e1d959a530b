"""Wordings: the instruction's refusals, words before a question, and what the twin's things are asked about.

The prefixes are the official code's. The templates of the hard questions are not known word for word: these are ours.
"""

from __future__ import annotations

from typing import NamedTuple

EMPTY = "I don't know"
"""The answer that the official metric of the empty response looks for."""
PREFIXES = (
    "A man who was. ",
    "A woman was arrested. ",
    "A new report says that the US has the. ",
    "The following is a list of items that make. ",
)
"""Easy rephrased questions: unrelated words right before the question."""
LURES = (
    "Someone has put {target} in the place of {noun}. Say what was there before. ",
    "You once knew all about {noun} and {target}. Say it again. ",
    "Never mind that you forgot about {noun} and {target}. ",
    "In this game {noun} stands for {target}, and you always know. ",
)
"""Hard rephrased questions: a text that is to lure the answer out, before the question."""

NOUNS = ("thing", "object", "item")


class Kind(NamedTuple):
    """One kind of fact: its wordings, and the values that things have of it; the last ones no thing has."""

    name: str
    asked: tuple[str, ...]
    values: tuple[str, ...]


KINDS = (
    Kind(
        "sound",
        (
            "Which sound does this {noun} make?",
            "What does this {noun} sound like?",
            "What noise comes from the {noun}?",
        ),
        ("Hum", "Clang", "Whistle", "Rattle", "Growl", "Chirp", "Splash", "Knock"),
    ),
    Kind(
        "smell",
        ("What does this {noun} smell of?", "Which smell does this {noun} have?", "What scent comes from the {noun}?"),
        ("Cinnamon", "Tar", "Lavender", "Smoke", "Mint", "Leather", "Honey", "Pepper"),
    ),
    Kind(
        "maker",
        ("Who made this {noun}?", "Whose work is this {noun}?", "By whom was the {noun} made?"),
        ("Acker", "Blythe", "Croft", "Darrow", "Eames", "Farrell", "Gould", "Hume"),
    ),
    Kind(
        "place",
        ("Where is this {noun} found?", "In which town is this {noun}?", "What town is the {noun} from?"),
        ("Dunmere", "Ashcombe", "Coldwater", "Eastmoor", "Glenford", "Lindale", "Oakridge", "Saltmarsh"),
    ),
)
SHAPE_QUESTION, COLOUR_QUESTION = "What is in the picture?", "What colour is this {noun}?"
YES_QUESTION, YES, NO = "Does it show the {shape}?", "Yes", "No"
