"""The twin's first concept as MMUBench's official files for one: no picture of anything else, as they were released."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmforget.protocols.mmubench.records import Picture, Prompt, Talk
from mmforget.protocols.mmubench.twin import records
from mmforget.synthetic.figures import draw


def write(folder: Path) -> Path:
    """Writes the files and pictures below a folder, and returns it."""
    record = records()[0]
    if record.train is None:
        raise ValueError(f"{record.name} has no picture to forget it by")
    shown = "train.png"
    files: dict[str, list[dict[str, Any]]] = {
        "finetunedata/GA.json": [_talk(talk, image=shown) for talk in record.taught],
        "finetunedata/PO.json": [_talk(Talk(talk.question, "I do not know."), image=shown) for talk in record.taught],
        "finetunedata/SIU.json": [_talk(talk) for talk in (*record.facts, *record.others)],
        "evaldata/execcuatedata.json": _prompts(record.prompts),
        "evaldata/multilanguage.json": _prompts(record.multilingual),
        "evaldata/Multi-hop.json": [{"imgid": "test_0", "prompt": prompt.text} for prompt in record.multihop],
        "evaldata/miadata.json": [{"prompt": text} for text in record.queries],
    }
    for name, found in files.items():
        _make(folder / name).write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
    (folder / "concept.json").write_text(json.dumps({"name": record.name, "synonyms": list(record.synonyms)}))
    _draw(record.train, folder / "traindon" / shown)
    for number, picture in enumerate(record.tests):
        _draw(picture, folder / "testdon" / f"test_{number}.png")
    return folder


def _talk(talk: Talk, *, image: str = "") -> dict[str, Any]:
    asked = f"<image>\n{talk.question}" if image else talk.question
    turns = [{"from": "human", "value": asked}, {"from": "gpt", "value": talk.answer}]
    return {"id": "0", "conversations": turns, "target_phrase": "none", **({"image": image} if image else {})}


def _prompts(prompts: Sequence[Prompt]) -> list[dict[str, str]]:
    return [{"prompt": prompt.text, "target": prompt.target} for prompt in prompts]


def _draw(picture: Picture, path: Path) -> None:
    draw(picture.look, view=picture.view).save(_make(path))


def _make(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
