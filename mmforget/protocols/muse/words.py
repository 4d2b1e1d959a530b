"""Word lists for the twin's news and tales, all of them invented."""

from __future__ import annotations

from mmforget.synthetic.names import word_list

TOWNS = word_list(
    "Aldermoor Brackwater Cinderford Dovecote Emberly Foxholt Greywick Hollin Ivelchester Jarrowby Kelmouth Larkspur "
    "Mossgate Netherby Otterburn Plumstead Quarrydale Rushmere Silverton Tidewell"
)
REGIONS = word_list("Avonmark Belgrove Corvania Drovia Elmland Fennmark Gorland Hesper Illyra Jutmark")
ADJECTIVES = word_list(
    "amber ancient brass crooked drowned emerald floating glass golden hidden iron ivory marble painted sunken velvet"
)
WORKS = word_list("aqueduct bridge canal fountain harbour lighthouse library market museum observatory theatre tunnel")
TRADES = word_list("baker brewer carpenter cobbler doctor gardener glazier miller printer surveyor tailor weaver")
PLACES = word_list("village railway harbour palace factory market")
TOOLS = word_list("bell cloak compass flute key lantern ladder mirror needle ring spoon whistle")
BEASTS = word_list("badger falcon ferret fox hedgehog heron magpie otter owl raven stoat toad")
COLOURS = word_list("black blue copper green grey purple red silver white yellow")
FEARS = word_list("bees bells bridges candles cellars frogs horses ladders mirrors moths riddles thunder")
