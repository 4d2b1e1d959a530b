"""A few questions of every kind with what target, retain and unlearned model answer: what people read first."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence

from PIL import Image

from mmforget.benchmark.rows import row_from_doc
from mmforget.benchmark.spec import Benchmark, Bound
from mmforget.metrics.degenerate import why_degenerate
from mmforget.results.schema import AnswerExample
from mmforget.types import Sample

ROLES = ("forget", "rephrase", "benign", "benign_utility", "facts", "utility", "retain")
HIDDEN = ("holdout",)
OTHER = "other"
NUM_SUBJECTS, NUM_QUESTIONS, NUM_OTHER = 4, 6, 3
"""Subjects and questions shown of a set with a role, and questions of one without."""
PICTURE_SIDE = 96


def example_answers(
    bound: Bound,
    *,
    samples: Sequence[Sample],
    target: Sequence[Sample],
    retain: Sequence[Sample],
) -> tuple[AnswerExample, ...]:
    """The first questions of the first subjects of every set that is answered in words, with every model's answer.

    What was to be forgotten comes first, sets without a role last; subjects that no model ever saw are left out. None
    where the benchmark shows scores only.
    """
    if bound.benchmark.document.scores_only:
        return ()
    found = []
    before, gold = _responses(target), _responses(retain)
    asked = dict.fromkeys(sample.set for sample in samples if sample.response is not None)
    for name, group in _groups(bound.benchmark, asked=asked).items():
        chosen = _chosen(samples, set_name=name, num_questions=NUM_OTHER if group == OTHER else NUM_QUESTIONS)
        pictures = _pictures(bound, set_name=name, ids={sample.id for sample in chosen})
        for sample in chosen:
            key = (sample.task, sample.id)
            found.append(
                AnswerExample(
                    subject=sample.subject,
                    set=name,
                    question=sample.question,
                    answer=sample.answer,
                    response=sample.response or "",
                    target=before.get(key, ""),
                    retain=gold.get(key, ""),
                    image=pictures.get(sample.id),
                    group=group,
                    degenerate=why_degenerate(sample.response or "", reference=sample.answer, question=sample.question)
                    != "",
                )
            )
    return tuple(found)


def _groups(benchmark: Benchmark, *, asked: Iterable[str]) -> dict[str, str]:
    """The sets that were asked, each with the first role it plays, in the order of `ROLES`."""
    sets = benchmark.document.sets
    roles = {sets[role]: role for role in reversed(ROLES) if role in sets}
    hidden = {sets[role] for role in HIDDEN if role in sets}
    groups = {name: roles.get(name, OTHER) for name in asked if name in roles or name not in hidden}
    return dict(sorted(groups.items(), key=lambda item: (*ROLES, OTHER).index(item[1])))


def _chosen(samples: Sequence[Sample], *, set_name: str, num_questions: int) -> list[Sample]:
    """The first questions of the first subjects of a set, those of one subject together, as many of each."""
    asked: dict[str, list[Sample]] = {}
    task = next((s.task for s in samples if s.set == set_name and s.response is not None), None)
    for sample in samples:
        if sample.task == task and sample.attack is None:
            asked.setdefault(sample.subject, []).append(sample)
    subjects = list(asked.values())[: min(NUM_SUBJECTS, num_questions)]
    each = -(-num_questions // max(1, len(subjects)))
    return [sample for several in subjects for sample in several[:each]]


def _responses(samples: Sequence[Sample]) -> Mapping[tuple[str, str], str]:
    return {(s.task, s.id): s.response for s in samples if s.response is not None and s.attack is None}


def _pictures(bound: Bound, *, set_name: str, ids: set[str]) -> dict[str, str]:
    """The first picture of each of these rows; none for a row of text alone."""
    if bound.benchmark.modality == "text":
        return {}
    rows = bound.rows(set_name)
    places = [place for place, name in enumerate(rows["id"][:]) if name in ids]
    found = [row_from_doc(rows[place]) for place in places]
    return {row.id: _data_uri(row.images[0]) for row in found if row.images}


def _data_uri(image: Image.Image) -> str:
    """The picture as a small PNG in a `data:` URI."""
    small = image.convert("RGB")
    small.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
