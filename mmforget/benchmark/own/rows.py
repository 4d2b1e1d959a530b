"""The rows of a request: each question with an id of its own, plain, rephrased or in words alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from mmforget.benchmark.mentions import mentions
from mmforget.benchmark.own.corpus import Corpus, Entry
from mmforget.benchmark.own.spec import filled
from mmforget.errors import UserError

FORGET, REPHRASE, KEEP, FULL = "forget", "rephrase", "keep", "full"
SETS = (FORGET, REPHRASE, KEEP, FULL)


def docs_of(corpus: Corpus, *, set_name: str, modality: str) -> list[dict[str, Any]]:
    """The rows of a set; with pictures those that have one, in words alone all, each naming its subject.

    Raises UserError where no row has a picture and some are asked for.
    """
    if modality == "image" and not corpus.has_pictures:
        raise UserError("no row about those to be forgotten has a picture; ask in words alone: --tasks request_text")
    parts = {FORGET: corpus.forget, KEEP: corpus.keep, FULL: (*corpus.forget, *corpus.keep)}
    found = _numbered(parts.get(set_name, corpus.forget), modality=modality)
    if set_name != REPHRASE:
        return found
    return [one for doc in found for one in _rephrased(doc, templates=corpus.spec.rephrasings)]


def without_picture(corpus: Corpus) -> int:
    """How many rows are asked in words alone only."""
    return sum(entry.image is None for entry in (*corpus.forget, *corpus.keep))


def _numbered(entries: Sequence[Entry], *, modality: str) -> list[dict[str, Any]]:
    """Rows are named by their subject and their place among its questions, whatever is asked."""
    seen: Counter[str] = Counter()
    asked: set[tuple[str, str, str]] = set()
    found = []
    for entry in entries:
        number = seen[entry.subject]
        seen[entry.subject] += 1
        words = entry[:3]
        if (modality == "image" and entry.image is None) or (modality == "text" and words in asked):
            continue
        asked.add(words)
        found.append(_doc(entry, number=number, modality=modality))
    return found


def _doc(entry: Entry, *, number: int, modality: str) -> dict[str, Any]:
    is_named = modality == "image" or mentions(entry.question, names=[entry.subject])
    return {
        "id": f"{entry.subject}/{number:02d}",
        "subject": entry.subject,
        "images": [entry.image] if modality == "image" else [],
        "question": entry.question if is_named else f"About {entry.subject}: {entry.question}",
        "answer": entry.answer,
        "keywords": list(entry.keywords),
    }


def _rephrased(doc: dict[str, Any], *, templates: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            **doc,
            "id": f"{doc['id']}/r{place}",
            "question": filled(template, question=doc["question"], subject=doc["subject"]),
        }
        for place, template in enumerate(templates)
    ]
