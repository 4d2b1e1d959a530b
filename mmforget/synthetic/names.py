"""First and last names and months, of which several twins make people."""

from __future__ import annotations


def word_list(listed: str) -> tuple[str, ...]:
    """The words of a text."""
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
    (name, gender) for gender, listed in (("female", _FEMALE), ("male", _MALE)) for name in word_list(listed)
)
LAST_NAMES = word_list(
    "abbot barlow carver dunmore ellery fenwick garrow hobbs ingram jessop kestrel larkin merrow nettle oakes "
    "penrose quill rowntree sable thorne umber vance weller yarrow zander ashby birch corbin draper elwood foss "
    "gale harker ives jarvis keene lockett marsh norcott osborn pike quade rook selby tarn upton varley wick "
    "yewdale applin brandt cole dane eastman fisk grove holt irving juniper kemp lorne mallow north orchard prior "
    "rush stone tull underhill vale wren york amber bell crane dove elder flint gorse hazel"
)
MONTHS = word_list("january february march april may june july august september october november december")
