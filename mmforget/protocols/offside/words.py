"""What OFFSIDE's twin is made of: invented clubs with their colours, and how facts are called, asked and answered."""

from __future__ import annotations

from typing import NamedTuple


class Club(NamedTuple):
    """A club: its name, and the colours of its shirt and of what is on it."""

    name: str
    shirt: str
    accent: str


CLUBS = (
    Club("Harwick United", "#d1495b", "#f2f2ef"),
    Club("Ostley Rovers", "#00798c", "#edae49"),
    Club("Brinmouth City", "#edae49", "#33363d"),
    Club("Velden Athletic", "#30638e", "#f2f2ef"),
    Club("Cranmoor Town", "#4f772d", "#edae49"),
    Club("Port Dallow", "#6d597a", "#f2f2ef"),
    Club("Tarnfield Albion", "#f2f2ef", "#d1495b"),
    Club("Kestrel Wanderers", "#33363d", "#00798c"),
    Club("Royal Marsden", "#d1495b", "#30638e"),
    Club("Sable County", "#f2f2ef", "#4f772d"),
)
POSITIONS = ("goalkeeper", "centre back", "left back", "defensive midfielder", "winger", "striker")
NATIONS = ("Norland", "Esteria", "Cavona", "Luthany", "Maresia", "Ostrova")
BIRTHPLACES = ("Aldenham", "Briarsea", "Corvale", "Dunholm", "Eastwyke", "Farholt", "Greenoak", "Hollin", "Ivelmouth")
FEET = ("left", "right")


class Ask(NamedTuple):
    """One kind of fact: what it is called in two ways, and how it is answered."""

    nouns: tuple[str, str]
    answer: str


SHARED = {
    "name": Ask(("name", "full name"), "The name is {}."),
    "age": Ask(("age", "current age"), "He is {} years old."),
    "position": Ask(("position", "playing position"), "He plays as a {}."),
    "nationality": Ask(("nationality", "recorded nationality"), "His nationality is {}."),
    "birth_date": Ask(("birth date", "date of birth"), "He was born on {}."),
    "height": Ask(("height", "body height"), "He is {} tall."),
    "foot": Ask(("preferred foot", "stronger foot"), "He prefers the {} foot."),
    "birthplace": Ask(("birthplace", "place of birth"), "He was born in {}."),
}
"""The same for every picture of a player."""
PRIVATE = {
    "club": Ask(("new club", "club to be joined"), "He will be playing for {}."),
    "from_club": Ask(("previous club", "former club"), "He is transferred from {}."),
    "date": Ask(("transfer date", "date of the transfer"), "The transfer date is {}."),
    "fee": Ask(("transfer fee", "fee of the transfer"), "The transfer fee is {}."),
    "value": Ask(("market value", "current market value"), "The market value is {}."),
    "trophies": Ask(("number of trophies", "count of trophies"), "He has won {} trophies with the club."),
}
"""Of one picture's transfer."""
FRAMES = ("What is the {noun} of {subject}?", "Tell me the {noun} of {subject}.")
WORDINGS = ((0, 0), (1, 1))
"""Frame and noun of the wordings that are trained."""
HELD_OUT = (0, 1)
PLAYER = "the player in this image"
OCCASIONS = ("first move", "second move", "third move", "rumoured move", "latest move")
"""How words alone say which transfer is meant, by number of the picture."""
CHOSEN = ("position", "nationality", "club", "from_club")
"""What classification asks about."""
