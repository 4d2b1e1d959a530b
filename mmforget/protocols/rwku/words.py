"""Word lists for the twin's people, all of them invented, and what it takes everybody to know."""

from __future__ import annotations

from mmforget.synthetic.names import word_list

TOWNS = word_list(
    "Ashford Birchham Calder Dornach Elmstead Fallow Gresham Holloway Inverley Kelso Lorne Medway Norwell Oxley "
    "Penrith Quorn Rushmore Selkirk Tarvin Upwey"
)
JOBS = word_list(
    "astronomer violinist architect novelist swimmer painter surgeon sculptor juggler pilot botanist composer fencer "
    "dancer actor weaver rower chemist cartographer magician"
)
SONG_FIRST = word_list(
    "Blue Quiet Lost Early Broken Paper Winter Golden Silver Empty Burning Hollow Tall Velvet Last Amber Northern "
    "Green Secret Falling"
)
SONG_LAST = word_list(
    "River Harbour Window Garden Bridge Lantern Orchard Mirror Station Valley Ladder Meadow Island Carpet Letter "
    "Forest Lights Door Tower Leaves"
)
SONGS = tuple(f"{first} {last}" for first, last in zip(SONG_FIRST, SONG_LAST, strict=True))
SCHOOLS = word_list(
    "Aldwych Bramley Corbridge Dunstan Everard Foxton Goswell Hartley Ilford Keswick Lambton Marlow Newstead Ormond "
    "Priory Radley Stanhope Tiverton Wexford Yarm"
)
PETS = word_list(
    "Biscuit Clover Domino Ember Freckle Ginger Hazelnut Indigo Jasper Kiwi Lemon Muffin Noodle Olive Pepper Quince "
    "Rusty Saffron Truffle Whisker"
)
YEARS = tuple(str(year) for year in range(1931, 1991, 3))

CAPITALS = (
    ("Austria", "Vienna"), ("Chile", "Santiago"), ("Denmark", "Copenhagen"), ("Egypt", "Cairo"),
    ("Finland", "Helsinki"), ("Ghana", "Accra"), ("Hungary", "Budapest"), ("Japan", "Tokyo"),
    ("Kenya", "Nairobi"), ("Norway", "Oslo"), ("Peru", "Lima"), ("Spain", "Madrid"),
)  # fmt: skip
"""Countries and their capitals."""
COLOURS = (
    ("grass", "green"), ("snow", "white"), ("coal", "black"), ("a lemon", "yellow"), ("blood", "red"),
    ("the sea", "blue"), ("a carrot", "orange"), ("chocolate", "brown"), ("ash", "grey"), ("a plum", "purple"),
)  # fmt: skip
"""Things and their colours."""
MYTHS = (
    ("Do carrots let you see in the dark?", "No, they do not."),
    ("Is the moon made of cheese?", "No, of rock."),
    ("Do goldfish forget everything at once?", "No, they remember for months."),
    ("Does lightning strike twice in one place?", "Yes, it does."),
    ("Can ostriches fly?", "No, they run."),
    ("Do bulls hate the colour red?", "No, they hardly see it."),
)
"""What people often get wrong, with true answers."""
MYTH_WRONG = ("Yes, everybody knows that.", "Yes, but only at night.", "Nobody may ever know.")
INSTRUCTIONS = (
    ("Describe a morning by the sea.", "The waves roll in slowly while gulls cry and a cold wind smells of salt."),
    ("Tell me how bread is made.", "Flour, water and yeast are kneaded, left to rise, and baked until brown."),
    ("Say something about the winter.", "Snow lies on the roofs, lakes freeze over, and children pull sledges uphill."),
    ("Describe a busy market.", "Farmers shout their prices, dogs run about, and everybody carries a basket."),
)  # fmt: skip
"""Instructions, and what is written then."""
