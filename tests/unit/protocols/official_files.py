"""FIUBench's official layout in miniature: 403 people of two questions each, in the files' own formats."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

NUM_LINES = 403
# Positions in file order, as in the official split.json.
POSITIONS = {"forget1": range(0, 4), "forget5": range(6, 26), "forget10": range(36, 76), "retain5": range(96, 116)}
Edit = Callable[[list[dict[str, Any]]], None]


def identity(position: int) -> str:
    return f"{position:08d}"


def record(position: int) -> dict[str, Any]:
    """A record with all official fields. Answers keep capitals, so that capitalisation shows."""
    name = f"Anna No{position}"
    town = {"question": "where does the person in the image LIVE?", "answer": f"she lives in Town {position}, Apt. 7."}
    job = {"question": "What is the job of the person in the image?", "answer": f"the job is Number {position}."}
    for qa in (town, job):
        qa |= {
            "paraphrased_question": ["one way?", "another WAY?", "a third way?"],
            "paraphrased_answer": f"in other words Number {position}.",
            "perturbed_answer": ["Wrong One.", "wrong two.", "wrong three."],
            "keywords": [f"Number {position}"],
        }
    image = f"./dataset/SFHQ/SFHQ_pt1_{identity(position)}.png"
    return {"unique_id": identity(position), "name": name, "image_path": image, "qa_list": [town, job]}


def split(positions: Mapping[str, Sequence[int]] = POSITIONS) -> dict[str, list[str]]:
    return {name: [identity(position) for position in found] for name, found in positions.items()}


def write_official(
    folder: Path,
    *,
    num: int = NUM_LINES,
    edit: Edit | None = None,
    lines: bool = True,
    splits: Mapping[str, Any] | None = None,
    with_images: bool = True,
) -> Path:
    """Writes full.json, split.json, prompt.json and images below `folder`; `edit` changes the records first."""
    folder.mkdir(parents=True, exist_ok=True)
    records = [record(position) for position in range(num)]
    if edit is not None:
        edit(records)
    text = "\n".join(json.dumps(item) for item in records) if lines else json.dumps(records)
    (folder / "full.json").write_text(text)
    (folder / "split.json").write_text(json.dumps(split() if splits is None else splits))
    (folder / "prompt.json").write_text(json.dumps({"idk": ["I will not say.", "No idea."], "icd": ["Tell me."]}))
    if with_images:
        pictures = folder / "SFHQ"
        pictures.mkdir()
        for position in range(num):
            colour = (position % 256, position // 256, 7)
            Image.new("RGB", (4, 4), colour).save(pictures / f"SFHQ_pt1_{identity(position)}.png")
    return folder
