"""OFFSIDE's official layout in miniature, as data.zip unpacks, with the defects that its description knows of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

Record = dict[str, Any]
SHARED = ("What is the name of the player?", "How tall is the player shown?")
PRIVATE = (
    "Which club will the player on the left side of the image join?",
    "From which club is he transferred?",
    "When is the transfer date?",
    "State the transfer fee for the player shown in this image.",
    "What is his market value at that time?",
    "How many trophies did he win at the club?",
)
ANSWERS = {
    SHARED[0]: "His name is Kaoru Mitoma.",
    SHARED[1]: "He is 178 cm tall.",
    PRIVATE[0]: "He will be playing for Newcastle United.",
    PRIVATE[1]: "He is transferred from Brighton & Hove Albion.",
    PRIVATE[2]: "The transfer took place on July 1, 2023.",
    PRIVATE[3]: "The transfer fee is EUR 4.10 million.",
    PRIVATE[4]: "His market value is EUR 29.00m.",
    PRIVATE[5]: "He has won 2 trophies.",
}


def pair(question: str, answer: str, **more: Any) -> Record:
    """An official record of messages."""
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns, **more}


def about(number: int, *, facts: Sequence[str] = (*SHARED, *PRIVATE), folder: str = "finetune_set") -> list[Record]:
    """The records of one picture: `<image>` first, and `images` a text."""
    return [
        pair(f"<image>\n{question}", ANSWERS[question], images=f"./{folder}/{number:03d}.jpg") for question in facts
    ]


def in_words(number: int) -> list[Record]:
    """The same in words alone, which carry the picture all the same; a stray full stop, and one points at it."""
    place = f"./finetune_set/{number:03d}.jpg"
    return [
        pair("What is Mitoma.'s transfer fee?", "It is EUR 4.10 million.", images=place),
        pair("What is Kaoru Mitoma's club in this image?", "He plays for Newcastle United.", images=place),
    ]


def choice(number: int, **changes: Any) -> Record:
    options = {"A": "Arsenal", "B": "Newcastle United", "C": "Everton", "D": "Fulham"}
    place = f"./finetune_set/{number:03d}.jpg"
    record = {"Question": "Which club will he join?", "Options": options, "Correct_Answer": "B", "images": place}
    return {**record, **changes}


def official_files() -> dict[str, list[Record]]:
    """By path below the folder: two players (pictures 1 to 10), and every defect once.

    Of picture 4: a doubled tag in the sentence, `image` for `images`, a list of one picture, and a tag inside.
    """
    forget = [*about(4), *about(9)]
    forget[2]["messages"][0]["content"] = "<image>\nWhich club will the player join, see this image: <image>"
    forget[3]["image"] = forget[3].pop("images")
    forget[4]["images"] = [forget[4]["images"]]
    forget[5]["messages"][0]["content"] = "What is the transfer fee of the player in <image>?"
    retain = [record for number in (1, 2, 3, 6, 7, 8) for record in about(number)]
    return {
        "data/retain_set.json": retain,
        "data/forget_set.json": forget,
        "data/finetune_set.json": [*retain, *forget],
        "data/test_set.json": [record for number in (1, 6) for record in about(number, folder="test_set")],
        "data/relearn_set_enhanced.json": [*about(5), *about(10)],
        "data/relearn_set.json": about(5),
        "data/unimodal/forget_set.json": in_words(4),
        "data/unimodal/retain_set.json": in_words(1),
        "data/classification_forget_set.json": [choice(4), choice(9, Correct_Answer="b.")],
        "data/classification_retain_set.json": [choice(1)],
        "data/notes.json": [],
    }


def write_official(
    folder: Path, files: Mapping[str, Sequence[Record]] | None = None, *, num_pictures: int = 10
) -> Path:
    """Writes the files, and the pictures of both folders, below `folder`."""
    for name, records in (official_files() if files is None else files).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(records))
    for place in ("finetune_set", "test_set"):
        (folder / "data" / place).mkdir(parents=True, exist_ok=True)
        for number in range(1, num_pictures + 1):
            Image.new("RGB", (8, 6), (10 * number, 90, 40)).save(folder / "data" / place / f"{number:03d}.jpg")
    return folder
