"""lm_eval's requests and their answers, turned into the samples that metrics read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mmforget.benchmark.document import TaskLabel
from mmforget.benchmark.rows import candidate_roles
from mmforget.errors import UserError
from mmforget.types import NoScores, NoText, Sample

BLANK_IMAGE = "blank_image"


class Attempt(NamedTuple):
    """Which of an attack's questions a sample answers."""

    attack: str
    number: int


def samples_of(
    name: str, *, label: TaskLabel, requests: Sequence[Any], answers: Sequence[Any], attempt: Attempt | None = None
) -> list[Sample]:
    """One sample for each document of a task, in the order of its documents.

    Args:
        requests: the task's lm_eval requests; those of one document share its `doc_id`, and `idx` orders them.
        answers: what the model answered to each: text for kind `gen`, a pair with `token_logprobs` otherwise. Pairs
            without, from another model than mmforget's own, give samples without log-probs, which are left unscored; so
            are those that a guard has no answer to.

    Raises UserError where documents are not rows of a benchmark.
    """
    by_doc: dict[Any, list[tuple[Any, Any]]] = {}
    for request, answer in zip(requests, answers, strict=True):
        by_doc.setdefault(request.doc_id, []).append((request, answer))
    samples = []
    for pairs in by_doc.values():
        ordered = sorted(pairs, key=lambda pair: int(pair[0].idx))
        doc = ordered[0][0].doc
        try:
            answered = [answer for _, answer in ordered]
            samples.append(_sample(name, label=label, doc=doc, answers=answered, attempt=attempt))
        except KeyError as error:
            raise UserError(
                f"task {name}: its documents have no column {error}; a benchmark's rows need every column"
            ) from error
    return samples


def _sample(
    name: str, *, label: TaskLabel, doc: Mapping[str, Any], answers: Sequence[Any], attempt: Attempt | None
) -> Sample:
    is_text = label.kind == "gen"
    reason = next((one.reason for one in answers if isinstance(one, NoScores | NoText)), "")
    answered = [] if reason else answers
    return Sample(
        task=name,
        set=label.set,
        kind=label.kind,
        id=doc["id"],
        subject=doc["subject"],
        question=doc["question"],
        answer=doc["answer"],
        keywords=tuple(doc["keywords"]),
        path=tuple(doc["path"]),
        response=str(answers[0]) if is_text and answered else None,
        token_logprobs={} if is_text or not answered else _token_logprobs(name, label=label, doc=doc, answers=answers),
        attack=attempt.attack if attempt else None,
        attempt=attempt.number if attempt else None,
        extra=json.loads(doc["extra"] or "{}"),
        unanswered=reason,
    )


def _token_logprobs(
    name: str, *, label: TaskLabel, doc: Mapping[str, Any], answers: Sequence[Any]
) -> dict[str, tuple[float, ...]]:
    roles = (
        candidate_roles(doc) if label.kind == "prob" else [f"choice/{index}" for index in range(len(doc["choices"]))]
    )
    if len(roles) != len(answers):
        raise UserError(f"task {name}, row {doc['id']}: {len(answers)} answers were scored for {len(roles)} candidates")
    return {
        role: answer.token_logprobs
        for role, answer in zip(roles, answers, strict=True)
        if hasattr(answer, "token_logprobs")
    }
