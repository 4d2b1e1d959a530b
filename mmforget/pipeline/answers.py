"""A few questions of a few subjects with what target, retain and unlearned model answer: what people read first."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

from PIL import Image

from mmforget.benchmark.rows import row_from_doc
from mmforget.benchmark.source import DataSource
from mmforget.benchmark.spec import Benchmark
from mmforget.results.schema import AnswerExample
from mmforget.types import Sample

NUM_SUBJECTS, NUM_QUESTIONS = 4, 3
PORTRAIT_SIDE = 96


def example_answers(
    benchmark: Benchmark,
    *,
    data: DataSource,
    samples: Sequence[Sample],
    target: Sequence[Sample],
    retain: Sequence[Sample],
) -> tuple[AnswerExample, ...]:
    """The first questions of the first subjects of the forget and the utility set, with every model's answer."""
    found = []
    before, gold = _responses(target), _responses(retain)
    for name in (benchmark.forget_set, benchmark.utility_set):
        portraits = _portraits(benchmark, set_name=name, data=data)
        for sample in _first(samples, set_name=name):
            key = (sample.set, sample.id)
            found.append(
                AnswerExample(
                    subject=sample.subject,
                    set=name,
                    question=sample.question,
                    answer=sample.answer,
                    response=sample.response or "",
                    target=before.get(key, ""),
                    retain=gold.get(key, ""),
                    image=portraits.get(sample.subject),
                )
            )
    return tuple(found)


def _first(samples: Sequence[Sample], *, set_name: str) -> list[Sample]:
    asked: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.set == set_name and sample.response is not None and sample.control is None:
            asked.setdefault(sample.subject, []).append(sample)
    return [sample for several in list(asked.values())[:NUM_SUBJECTS] for sample in several[:NUM_QUESTIONS]]


def _responses(samples: Sequence[Sample]) -> Mapping[tuple[str, str], str]:
    return {(s.set, s.id): s.response for s in samples if s.response is not None and s.control is None}


def _portraits(benchmark: Benchmark, *, set_name: str, data: DataSource) -> dict[str, str]:
    if benchmark.modality != "image":
        return {}
    found: dict[str, str] = {}
    for doc in benchmark.rows(set_name, data=data):
        if doc["subject"] not in found:
            row = row_from_doc(doc)
            if row.images:
                found[row.subject] = _data_uri(row.images[0])
        if len(found) == NUM_SUBJECTS:
            break
    return found


def _data_uri(image: Image.Image) -> str:
    """The picture as a small PNG in a `data:` URI."""
    small = image.convert("RGB")
    small.thumbnail((PORTRAIT_SIDE, PORTRAIT_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
