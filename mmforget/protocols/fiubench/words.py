"""Word lists for facts about fictional people. Names of towns, streets, doctors and insurers are invented."""

from __future__ import annotations

from mmforget.synthetic.names import word_list

STREETS = tuple(
    f"{name} {kind}"
    for kind, listed in (
        ("lane", "alder bramble cedar dewberry elm"),
        ("street", "mill chapel harbour market station"),
        ("road", "granite heron willow orchard castle"),
        ("court", "maple falcon rose copper juniper"),
    )
    for name in word_list(listed)
)
TOWNS = word_list(
    "dunmere ashcombe brightwell coldwater eastmoor fairhaven glenford hartwick kingsport lindale marrowby northgate "
    "oakridge pinehurst ravenna saltmarsh thornbury underwood westbrook yardley"
)
JOBS = word_list(
    "baker carpenter florist pilot librarian plumber painter surgeon teacher sailor tailor chemist gardener musician "
    "translator welder miner lawyer potter jeweller butcher cook dentist editor farmer glazier hunter joiner midwife "
    "nurse optician porter roofer sculptor tanner usher waiter weaver actor barber"
)
ILLNESSES = word_list(
    "asthma migraine gout anaemia eczema bronchitis arthritis insomnia psoriasis scoliosis tinnitus vertigo sinusitis "
    "gastritis cataract epilepsy diabetes measles mumps shingles tonsillitis sciatica rosacea pneumonia lumbago "
    "laryngitis hepatitis glaucoma cystitis colitis"
)
DOCTOR_FIRST = word_list(
    "agnes basil cora denis elsa fritz gwen hector ines jasper klara louis maud nestor ottilie piers ruth silas tilda "
    "urban viola wilfred"
)
DOCTOR_LAST = word_list(
    "acker blythe croft darrow eames farrell gould hume inskip joyce kerr lund moss nash orme pratt reeve shaw teague "
    "vaughan wilde younge"
)
INSURERS = tuple(
    f"{first} {second}"
    for first in word_list("amber northern golden silver harbour")
    for second in word_list("shield mutual trust anchor lantern crown")
)
