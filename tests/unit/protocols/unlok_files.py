"""UnLOK-VQA's official layout in miniature: seven records with the defects that are known, and their pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

MEDIUM = "paraphrase_images_hard/okvqa_yolo_dino_bert/processed_images"
FOLDERS = {"easy": "parap_images_easy", "medium": MEDIUM, "hard": "parap_images_medium"}
NEIGHBOURS = {"easy": "neigh_images_easy", "hard": "neigh_images_medium"}
GREYS = {"original": 0, "easy": 40, "medium": 80, "hard": 120, "neighbour easy": 160, "neighbour hard": 200}
"""The grey of each kind of picture; the record's place is added to it."""


def record(place: int, **changes: Any) -> dict[str, Any]:
    """A record with every field, as the full file has them."""
    found: dict[str, Any] = {
        "id": place,
        "subject": "dog",
        "src": f"Which breed of dog it this {place}?",
        "pred": "Lab",
        "answers": ["Lab"],
        "rephrase": [f"What breed is dog {place}?", f"Name the breed of dog {place}."],
        "alt": "Beach",
        "cond": "Lab >> Beach || src",
        "alt_ans": ["Brittany", "Terrier", "doodle"],
        "loc": ["nq question: Is this a dog?", "nq question: What animal is in the picture?"],
        "loc_ans": ["Yes", "Brown dog"],
        "image_id": 407800 + place,
        "img_desc": "A dog. It sits.",
        "dissimilar_sent": "It sits.",
        "img_desc_ques_sum": [[0.9, 0.1]],
        "tifa_ques_ans": [],
        "objects_edit": ["dog", "animal"],
        "neigh_idx": [1],
    }
    return {key: value for key, value in (found | changes).items() if value is not ...}


def records() -> list[dict[str, Any]]:
    """One with everything, one as the Hub's card lists it, and five with a defect each."""
    return [
        record(0),
        record(1, rephrase=..., alt_ans=..., neigh_idx=..., objects_edit=..., subject=...),
        record(2, src="Is the dog a big dog 2?"),
        record(3, loc=[], loc_ans=[]),
        record(4, rephrase=["Which breed of dog it this 4?"], alt_ans=["Ice", "ice"], neigh_idx=[0], objects_edit=[]),
        record(5),
        record(6, pred="Water", objects_edit=["water"]),
    ]


def write_official(
    folder: Path, found: Sequence[dict[str, Any]], *, names: Sequence[Any] | None = None, valid: list[Any] | None = None
) -> Path:
    """Writes the file and the pictures, of record 5 no original and of record 6 no medium one.

    Args:
        names: what pictures are named by; the records' places where not given.
        valid: the ids of the manual filter; no such file without them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "zsre_mend_eval.json").write_text(json.dumps(list(found)))
    if valid is not None:
        (folder / "valid_ids_manual_filt.json").write_text(json.dumps(valid))
    for place, one in enumerate(found):
        name = place if names is None else names[place]
        if place != 5:
            where = "train2017" if place % 2 == 0 else "val2017"
            write_picture(folder / where / f"{one['image_id']:012d}.jpg", grey=GREYS["original"] + place)
        for level, where in FOLDERS.items():
            if (place, level) != (6, "medium"):
                write_picture(folder / where / f"{name}.jpg", grey=GREYS[level] + place)
        if one.get("neigh_idx"):
            for level, where in NEIGHBOURS.items():
                path = folder / where / f"{name}_{one['neigh_idx'][0]}.jpg"
                write_picture(path, grey=GREYS[f"neighbour {level}"] + place)
    return folder


def write_picture(path: Path, *, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (grey, grey, grey)).save(path, quality=100)
