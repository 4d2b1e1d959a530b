"""Word lists for the twin's plants, games, dyes and towns, all of them invented and harmless."""

from __future__ import annotations

from mmforget.synthetic.names import word_list

PLANTS = word_list("Alderwisp Brindlecap Corymoss Dawnsedge Elverfern Frostlily Glimmerreed Hazelthrift")
GAMES = word_list("Abaloo Bramkin Castlet Dominar Esquint Farkle Gridlock Hexagram")
DYES = word_list("Auburnel Bluewort Carmisol Duskine Emberine Fennelot")
SETTLEMENTS = word_list(
    "Ambleton Birchmouth Crosswell Deepford Eastbrook Fernhill Grangely Hightower Inglebay Jadeport Kingsmoor Lowgate"
)
COLOURS = word_list("amber azure coral indigo ivory olive scarlet violet")
MONTHS = word_list("January March April June July September October December")
SCENTS = word_list("almonds honey lemons mint pepper rain roses smoke")
PLACES = word_list("bogs cliffs dunes hedges lakes meadows orchards walls")
SHAPES = word_list("a-circle a-cross a-diamond a-hexagon a-spiral a-square a-star a-triangle")
COUNTS = word_list("twelve fifteen eighteen twenty twenty-four thirty forty sixty")
TITLES = word_list("captain duke emperor falconer guardian herald keeper marshal")
PIECES = word_list("acorns beads buttons coins pebbles shells sticks thimbles")
SOURCES = word_list("bark berries clay lichen petals roots seeds walnuts")
CLOTHS = word_list("cotton felt hemp lace linen silk velvet wool")
HOURS = word_list("dawn dusk midday midnight morning noon sunset twilight")
VATS = word_list("brass cedar copper glass iron oak stone tin")
RIVERS = word_list("Arle Brome Calder Derwyn Eske Fleet Gannel Humber")
DAYS = word_list("Mondays Tuesdays Wednesdays Thursdays Fridays Saturdays Sundays holidays")
DISHES = word_list("barley-soup cherry-pie eel-stew fig-bread goose-pie onion-tart plum-cake trout-roll")
FOUNDERS = word_list("bakers brewers fishers glaziers millers monks sailors weavers")
