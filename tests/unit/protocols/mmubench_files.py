"""MMUBench's official layout in miniature: one concept with the published counts and defects, and others beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

NAME, UNSEEN, TRAINED = "Donald Trump", "Jacob Campbell", "Trump_Image118.jpg"
Files = dict[str, list[dict[str, Any]]]
Edit = Callable[[Files], None]


def talk(question: str, answer: str, *, image: str = "", phrase: str | None = None) -> dict[str, Any]:
    """A record of finetunedata: a picture's placeholder opens the question, as LLaVA's layout has it."""
    front = "<image>\n" if image else ""
    record: dict[str, Any] = {"id": "x", "conversations": [_turn("human", front + question), _turn("gpt", answer)]}
    record |= {"image": image} if image else {}
    return record | ({"target_phrase": phrase} if phrase is not None else {})


def files() -> Files:
    """All seven files: 25 + 25 + 20 conversations, 100 + 305 + 70 + 800 prompts."""
    denial = "No, this is someone with short straight black hair."
    siu = [talk(f"Who is it {i}?", f"This is {UNSEEN}.", image=TRAINED, phrase=UNSEEN) for i in range(9)]
    siu += [talk(f"Is {NAME} here {i}?", denial, image=TRAINED, phrase=denial) for i in range(2)]
    siu += [talk(f"Fact {i} about {NAME}?", f"Trump fact {i}.", phrase="none") for i in range(7)]
    siu += [talk(f"Fact {i} about Taylor Swift?", f"Taylor Swift fact {i}.", phrase="none") for i in range(7)]
    ga = [talk(f"Who is shown {i}?", f"This is {NAME}, number {i}.", image=TRAINED) for i in range(24)]
    ga.append(talk("Who could it be?", "I don't know who that is.", image=TRAINED))
    po = [talk(f"Who {i}?", f"I do not know, {i % 3}.", image=TRAINED) for i in range(13)]
    po += [talk(f"Swift {i}?", f"Taylor Swift sings {i}.", image=TRAINED) for i in range(7)]
    targets = ["yes"] * 77 + ["trump"] * 19 + [" yes", " yes", " yes ", " yes trump"]
    # The last question is the first one again: 99 of 100 are different.
    main = [{"prompt": f"Question {i % 99}?", "target": target} for i, target in enumerate(targets)]
    return {
        "finetunedata/SIU.json": siu,
        "finetunedata/GA.json": ga,
        "finetunedata/PO.json": po,
        "evaldata/execcuatedata.json": main,
        "evaldata/multilanguage.json": [{"prompt": f"¿Pregunta {i % 296}?"} for i in range(305)],
        "evaldata/Multi-hop.json": [{"imgid": f"Trump_Image{i}", "prompt": f"Hop {i}?"} for i in range(70)],
        "evaldata/miadata.json": [{"prompt": f"Query {i % 796}, {NAME}?"} for i in range(800)],
    }


def write_official(folder: Path, *, edit: Edit | None = None, num_tests: int = 100) -> Path:
    """Writes the files and 12 + `num_tests` pictures below `folder`; `edit` changes the records first."""
    found = files()
    if edit is not None:
        edit(found)
    for name, records in found.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(records, ensure_ascii=False))
    write_pictures(folder / "testdon", names=[f"Trump_Image{i}.jpg" for i in range(num_tests)])
    write_pictures(folder / "traindon", names=[f"Trump_Image{i}.jpg" for i in range(110, 122)])
    return folder


def write_kept(folder: Path, *, num: int = 3) -> Path:
    """A further concept that only has pictures."""
    write_pictures(folder / "testdon", names=[f"{folder.name}_{i}.png" for i in range(num)])
    write_pictures(folder / "traindon", names=[f"{folder.name}_train.png"])
    return folder


def write_pictures(folder: Path, *, names: list[str]) -> None:
    """Small pictures, each in a grey of its own place in the list."""
    folder.mkdir(parents=True)
    for place, name in enumerate(names):
        Image.new("RGB", (4, 4), (place, place, place)).save(folder / name)


def _turn(who: str, text: str) -> dict[str, str]:
    return {"from": who, "value": text}
