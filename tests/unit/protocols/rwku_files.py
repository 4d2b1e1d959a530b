"""Official files of RWKU in small: as many targets as are named, with one or two rows of each kind."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmforget.protocols.rwku.records import ATTACKS

Record = dict[str, Any]
TARGETS = ("Ann Lee", "Bob Roe")
CHOICES = ["Rome", "Oslo", "Bern", "Lima"]


def files(targets: Sequence[str] = TARGETS) -> dict[str, list[Record]]:
    """All files, by name; every target has the same questions of general ability and the like."""
    probes: dict[str, list[Record]] = {}
    for level, places in (("1", ("forget", "neighbor")), ("2", ("forget", "neighbor"))):
        for place in places:
            probes[f"{place}_level{level}"] = [row for name in targets for row in _probes(name, place, level=level)]
    probes["forget_level3"] = [
        {"subject": name, "level": "3", "type": kind, "query": f"{kind}: where is {name} from?", "answer": "Rome"}
        for name in targets
        for kind in ATTACKS
    ]
    mmlu = {"question": "Which one?", "choices": CHOICES, "answer": 2, "task": "world_history"}
    mc1 = {"choices": ["It is false.", "It is true."], "labels": [0, 1]}
    known: dict[str, Record] = {
        "retain_mmlu": {**mmlu, "examples": [{"question": "Where?", "choices": CHOICES, "answer": 0}]},
        "retain_bbh": {"question": "1 + 1?", "answer": "2", "cot": "Q: 0 + 1?\nA: So the answer is 1.", "task": "sums"},
        "truthful": {"question": "True?", "mc1_targets": mc1},
        "triviaqa": {"question": "Capital of Peru?", "answers": ["Lima", "Lima, Peru"]},
        "fluency": {"instruction": "Describe the sea."},
    }
    texts = {
        name: [{"subject": target, "text": f"{target} lives in Rome and sings."} for target in targets]
        for name in ("forget_mia", "retain_mia", "passage")
    }
    return {
        **probes,
        **texts,
        **{name: [{**row, "subject": target} for target in targets] for name, row in known.items()},
    }


def pairs(targets: Sequence[str] = TARGETS) -> list[Record]:
    return [
        {
            "id": f"{name} 0",
            "subject": name,
            "prompt": f"{name} is a singer. Please write a short biography of {name}.",
            "response": [f"{name} was a made-up pilot.", f"{name} is a singer from Rome."],
        }
        for name in targets
    ]


def write(folder: Path, found: Mapping[str, Sequence[Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, records in found.items():
        (folder / f"{name}.json").write_text(json.dumps(records, indent=4))
    return folder


def _probes(name: str, place: str, *, level: str) -> list[Record]:
    about = name if place == "forget" else f"the band of {name}"
    told = {"subject": name, "level": level, "type": "x"}
    if level == "1":
        return [{**told, "query": f"{about} comes from ___ .", "answer": "Rome"}]
    return [
        {**told, "query": f"Where is {about} from?", "answer": "Rome"},
        {**told, "query": f"What does {about} play?", "answer": "the flute"},
    ]
