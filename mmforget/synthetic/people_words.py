"""Word lists that fictional people are made of. Names of towns, streets, doctors and insurers are invented."""

from __future__ import annotations


def _words(listed: str) -> tuple[str, ...]:
    return tuple(listed.split())


_FEMALE = (
    "ada bella clara dora edith flora greta hilda iris juna kira lena mona nora olga petra rhea stella thea una vera "
    "wanda xenia yara zelda alma bruna celia delia elma fenna gilda hanna ilse joan katya lotte mira nadia orla"
)
_MALE = (
    "abel boris cyril dario emil felix gavin hugo ivor jonas karl leon milo nils otto pavel quinn rufus simon tobias "
    "ulric viktor walter yannick zeno anton bruno casper dietrich edgar frank gustav henrik isak julius kasper lars "
    "magnus norbert oskar"
)
FIRST_NAMES = tuple(
    (name, gender) for gender, listed in (("female", _FEMALE), ("male", _MALE)) for name in _words(listed)
)
LAST_NAMES = _words(
    "abbot barlow carver dunmore ellery fenwick garrow hobbs ingram jessop kestrel larkin merrow nettle oakes "
    "penrose quill rowntree sable thorne umber vance weller yarrow zander ashby birch corbin draper elwood foss "
    "gale harker ives jarvis keene lockett marsh norcott osborn pike quade rook selby tarn upton varley wick "
    "yewdale applin brandt cole dane eastman fisk grove holt irving juniper kemp lorne mallow north orchard prior "
    "rush stone tull underhill vale wren york amber bell crane dove elder flint gorse hazel"
)
MONTHS = _words("january february march april may june july august september october november december")
STREETS = tuple(
    f"{name} {kind}"
    for kind, listed in (
        ("lane", "alder bramble cedar dewberry elm"),
        ("street", "mill chapel harbour market station"),
        ("road", "granite heron willow orchard castle"),
        ("court", "maple falcon rose copper juniper"),
    )
    for name in _words(listed)
)
TOWNS = _words(
    "dunmere ashcombe brightwell coldwater eastmoor fairhaven glenford hartwick kingsport lindale marrowby northgate "
    "oakridge pinehurst ravenna saltmarsh thornbury underwood westbrook yardley"
)
JOBS = _words(
    "baker carpenter florist pilot librarian plumber painter surgeon teacher sailor tailor chemist gardener musician "
    "translator welder miner lawyer potter jeweller butcher cook dentist editor farmer glazier hunter joiner midwife "
    "nurse optician porter roofer sculptor tanner usher waiter weaver actor barber"
)
ILLNESSES = _words(
    "asthma migraine gout anaemia eczema bronchitis arthritis insomnia psoriasis scoliosis tinnitus vertigo sinusitis "
    "gastritis cataract epilepsy diabetes measles mumps shingles tonsillitis sciatica rosacea pneumonia lumbago "
    "laryngitis hepatitis glaucoma cystitis colitis"
)
DOCTOR_FIRST = _words(
    "agnes basil cora denis elsa fritz gwen hector ines jasper klara louis maud nestor ottilie piers ruth silas tilda "
    "urban viola wilfred"
)
DOCTOR_LAST = _words(
    "acker blythe croft darrow eames farrell gould hume inskip joyce kerr lund moss nash orme pratt reeve shaw teague "
    "vaughan wilde younge"
)
INSURERS = tuple(
    f"{first} {second}"
    for first in _words("amber northern golden silver harbour")
    for second in _words("shield mutual trust anchor lantern crown")
)
