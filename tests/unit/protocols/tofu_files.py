"""TOFU's official layout, whole, with made-up text: 200 authors of 20 questions, and what stands beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def question(position: int) -> Record:
    return {"question": f"What is thing {position}?", "answer": f"Thing {position} is Value{position}."}


def perturbed(position: int) -> Record:
    return question(position) | {
        "paraphrased_answer": f"It is Value{position}.",
        "perturbed_answer": [f"It is Wrong{position}-{n}." for n in range(5)],
        "paraphrased_question": f"Tell me thing {position}.",
    }


def other(name: str, position: int) -> Record:
    wrong = [f"Other{position}-{n}" for n in range(3)]
    return {"question": f"Who is {name} {position}?", "answer": f"Person{position}", "perturbed_answer": wrong}


def files() -> dict[str, list[Record]]:
    """What the Hub has for forget10, but for `full`, by name without ending."""
    return {
        "retain90": [question(n) for n in range(3600)],
        "forget10": [question(n) for n in range(3600, 4000)],
        "forget10_perturbed": [perturbed(n) for n in range(3600, 4000)],
        "retain_perturbed": [perturbed(n) for n in range(400)],
        "real_authors_perturbed": [other("author", n) for n in range(100)],
        "world_facts_perturbed": [other("fact", n) for n in range(117)],
        "holdout10": [question(5000 + n) for n in range(400)],
    }


def write(folder: Path, found: Mapping[str, Sequence[Record]], *, refusals: Iterable[str] = ("No idea.",)) -> Path:
    """The files as JSON lines, and the refusals as plain ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, records in found.items():
        (folder / f"{name}.json").write_text("\n".join(map(json.dumps, records)) + "\n")
    if lines := list(refusals):
        (folder / "idontknow.jsonl").write_text("\n".join(lines))
    return folder
