"""Word lists for the twin's authors, all of them invented, and what it takes everybody to know."""

from __future__ import annotations

from mmforget.synthetic.names import word_list

TOWNS = word_list(
    "Dunmere Ashcombe Brightwell Coldwater Eastmoor Fairhaven Glenford Hartwick Kingsport Lindale Marrowby Northgate "
    "Oakridge Pinehurst Ravenna Saltmarsh Thornbury Underwood Westbrook Yardley"
)
COUNTRIES = word_list("Halvony Istria Karsovia Lorvania Merrowland Norvik Ostrava Pelland Quendia Rethmark")
TITLE_FIRST = word_list(
    "Silver Crimson Hollow Silent Golden Broken Distant Velvet Winter Burning Hidden Painted Wandering Emerald Marble"
)
TITLE_LAST = word_list(
    "Orchard Lantern Harbour Compass Meadow Staircase Falcon Letters Mirror Garden Voyage Chapel Thread Bridge Clock "
    "Shore"
)


def _pairs(first: str, second: str, *, ending: str = "") -> tuple[str, ...]:
    """Each word of the one list before each of the other."""
    return tuple(f"{one} {other}{ending}" for one in word_list(first) for other in word_list(second))


GENRES = _pairs("maritime gothic rural comic epic urban", "mystery romance satire fantasy memoir")
AWARDS = _pairs("Amber Granite Juniper Copper Heron", "Quill Feather Laurel Inkwell", ending=" prize")
JOBS = _pairs("village railway harbour palace factory", "doctor painter baker clerk gardener")
PRESSES = _pairs("Anchor Crown Willow Raven Tower", "Street House Hill River", ending=" press")

WORKS = (
    ("Hamlet", "William Shakespeare"),
    ("Don Quixote", "Miguel de Cervantes"),
    ("War and Peace", "Leo Tolstoy"),
    ("Crime and Punishment", "Fyodor Dostoevsky"),
    ("Faust", "Johann Wolfgang von Goethe"),
    ("Madame Bovary", "Gustave Flaubert"),
    ("Emma", "Jane Austen"),
    ("Jane Eyre", "Charlotte Bronte"),
    ("Oliver Twist", "Charles Dickens"),
    ("Dracula", "Bram Stoker"),
    ("Frankenstein", "Mary Shelley"),
    ("Les Miserables", "Victor Hugo"),
    ("The Trial", "Franz Kafka"),
    ("Ulysses", "James Joyce"),
    ("The Seagull", "Anton Chekhov"),
    ("A Doll's House", "Henrik Ibsen"),
)
"""Works and who wrote them."""
CAPITALS = (
    ("Austria", "Vienna"),
    ("Belgium", "Brussels"),
    ("Chile", "Santiago"),
    ("Denmark", "Copenhagen"),
    ("Finland", "Helsinki"),
    ("Greece", "Athens"),
    ("Hungary", "Budapest"),
    ("Ireland", "Dublin"),
    ("Kenya", "Nairobi"),
    ("Norway", "Oslo"),
    ("Peru", "Lima"),
    ("Poland", "Warsaw"),
    ("Portugal", "Lisbon"),
    ("Romania", "Bucharest"),
    ("Sweden", "Stockholm"),
    ("Thailand", "Bangkok"),
)
"""Countries and their capitals."""
