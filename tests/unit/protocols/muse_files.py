"""MUSE's official layout with made-up text, a few rows a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Tables = dict[str, list[Any]]


def documents(name: str, count: int) -> list[Any]:
    return [{"text": f"Article {number} of {name} tells of Value{number}."} for number in range(count)]


def questions(name: str, count: int) -> list[Any]:
    return [{"question": f"What is {name} {number}?", "answer": f"Value{number}"} for number in range(count)]


def files() -> Tables:
    """What the Hub has of the news, by name without ending."""
    return {
        "raw/forget": documents("raw", 3),
        "raw/retain1": documents("retain1", 4),
        "raw/retain2": documents("retain2", 2),
        "knowmem/forget_qa": questions("forgotten", 5),
        "knowmem/retain_qa": questions("kept", 6),
        "knowmem/forget_qa_icl": questions("shown", 2),
        "knowmem/retain_qa_icl": questions("shown", 2),
        "verbmem/forget": [{"prompt": f"Article {n} of", "gt": f"raw tells of Value{n}."} for n in range(3)],
        "privleak/forget": documents("raw", 3),
        "privleak/holdout": documents("unseen", 3),
        **{f"scal/forget_{fold}": documents("scal", 3 * fold) for fold in range(1, 5)},
        **{f"sust/forget_{fold}": documents(f"sust{fold}", 3) for fold in range(1, 5)},
        "train/forget": documents("scal", 12),
        "train/retain1": documents("retain1", 4),
        "train/retain2": documents("retain2", 2),
    }


def write(folder: Path, tables: Mapping[str, Sequence[Any]]) -> Path:
    """Each table as a JSON list."""
    for name, rows in tables.items():
        path = folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(list(rows)))
    return folder
