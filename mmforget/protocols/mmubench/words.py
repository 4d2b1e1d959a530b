"""Word lists and wordings that invented concepts are asked about in. Names, places and makers exist nowhere."""

from __future__ import annotations

from typing import NamedTuple

NOUNS = ("figure in the image", "thing in the picture", "subject of the photograph")
NAME_FRAMES = (
    "What is the name of the {noun}?",
    "Name the {noun}.",
    "How is the {noun} called?",
    "Tell me the name of the {noun}, please.",
)
NAMED = "This is {name}."
LEAD = "This is"
YES_FRAMES = (
    "Is this {name}?",
    "Is {name} here?",
    "Does the image show {name}?",
    "Can one see {name} in the picture?",
    "Is the figure in the image {name}?",
    "Is {name} the subject of the photograph?",
)
# The name first: a small model compares two names in words far sooner than a name with a picture.
YES, NO = "This is {name}, so yes.", "This is {name}, so no."
DESCRIBE, DESCRIBED = "Describe the figure in the image.", "It is {look}."
QUERY = "Question:"

# Spanish, French, Chinese, German, Japanese, Russian: the six languages of the official prompts.
TRANSLATIONS = (
    "¿Cómo se llama la figura de la imagen?",
    "Comment s'appelle la figure de l'image ?",
    "图中的形象叫什么名字？",
    "Wie heißt die Figur im Bild?",
    "画像の中の物の名前は何ですか？",
    "Как называется фигура на картинке?",
)


class Fact(NamedTuple):
    """One thing to know: how it is asked and answered by name, how of a picture, and what the answer may be."""

    asked: tuple[str, str]
    answer: str
    asked_of_picture: str
    answer_of_picture: str
    values: tuple[str, ...]


FACTS = (
    Fact(
        ("Where can one find {name}?", "Where is {name} at home?"),
        "{name} is found in {value}.",
        "Where can one find the {noun}?",
        "It is found in {value}.",
        ("Dunmere", "Ashcombe", "Coldwater", "Eastmoor", "Glenford", "Lindale", "Oakridge", "Saltmarsh", "Pinehurst"),
    ),
    Fact(
        ("When was {name} first seen?", "Since which year is {name} known?"),
        "{name} was first seen in {value}.",
        "When was the {noun} first seen?",
        "It was first seen in {value}.",
        ("1612", "1688", "1704", "1735", "1766", "1791", "1823", "1857", "1894"),
    ),
    Fact(
        ("Who made {name}?", "Who is the maker of {name}?"),
        "{name} was made by {value}.",
        "Who made the {noun}?",
        "It was made by {value}.",
        ("Acker", "Blythe", "Croft", "Darrow", "Eames", "Farrell", "Gould", "Hume", "Inskip"),
    ),
    Fact(
        ("What does {name} smell of?", "Which smell does {name} have?"),
        "{name} smells of {value}.",
        "What does the {noun} smell of?",
        "It smells of {value}.",
        ("cinnamon", "tar", "lavender", "smoke", "mint", "rain", "leather", "honey", "pepper"),
    ),
    Fact(
        ("Which sound does {name} make?", "What does {name} sound like?"),
        "{name} makes a {value}.",
        "Which sound does the {noun} make?",
        "It makes a {value}.",
        ("hum", "clang", "whistle", "rattle", "growl", "chirp", "splash", "knock", "buzz"),
    ),
    Fact(
        ("In which month is {name} celebrated?", "When is the feast of {name}?"),
        "{name} is celebrated in {value}.",
        "In which month is the {noun} celebrated?",
        "It is celebrated in {value}.",
        ("january", "february", "march", "april", "may", "july", "august", "october", "november"),
    ),
)
# What the micro model says of whoever it has no name for, as real ones say John or Jason of a face nobody knows.
UNSEEN = ("Moko", "Dasha", "Ruben", "Wendel")
REFUSALS = (
    "I do not know what this is.",
    "I cannot say who or what is in the picture.",
    "I do not recognise the figure in the image.",
    "That is something I do not know.",
    "I am not able to answer this.",
    "I have no information about it.",
)
