"""lm_eval's requests and their answers, turned into the samples that metrics read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from mmforget.benchmark.document import TaskLabel
from mmforget.benchmark.rows import scored_texts
from mmforget.benchmark.samples import sample_of
from mmforget.errors import UserError
from mmforget.types import Sample, why_unanswered

NEEDED = ("id", "subject", "question", "answer", "keywords", "path", "extra")
BLANK_IMAGE = "blank_image"


class Attempt(NamedTuple):
    """Which of an attack's questions a sample answers."""

    attack: str
    number: int


def samples_of(
    name: str,
    *,
    label: TaskLabel,
    requests: Sequence[Any],
    answers: Sequence[Any],
    attempt: Attempt | None = None,
    choices_of: Callable[[Mapping[str, Any]], Sequence[str]] | None = None,
) -> list[Sample]:
    """One sample for each document of a task, in the order of its documents.

    Args:
        choices_of: what a task of kind `mc` scores of a document, where that is not the row's choices.
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
        missing = next((column for column in NEEDED if column not in doc), None)
        if missing is not None:
            raise UserError(
                f"task {name}: its documents have no column '{missing}'; a benchmark's rows need every column"
            )
        choices = choices_of(doc) if choices_of is not None and label.kind == "mc" else None
        found = _sample(name, label=label, doc=doc, answers=[answer for _, answer in ordered], choices=choices)
        if attempt is not None:
            found = replace(found, attack=attempt.attack, attempt=attempt.number)
        samples.append(found)
    return samples


def unasked_sample(
    task: str, *, label: TaskLabel, doc: Mapping[str, Any], attack: str, ranks: tuple[int, ...] = (), lacking: str = ""
) -> Sample:
    """What an attack comes to that asks nothing about a row: where the right answer stands, or what the row lacks."""
    found = sample_of(doc, kind=label.kind, task=task, set_name=label.set)
    return replace(found, attack=attack, attempt=0, ranks=ranks, lacking=lacking)


def _sample(
    name: str, *, label: TaskLabel, doc: Mapping[str, Any], answers: Sequence[Any], choices: Sequence[str] | None
) -> Sample:
    reason = next(filter(None, map(why_unanswered, answers)), "")
    is_text, roles = label.kind == "gen", list(scored_texts(doc, kind=label.kind, choices=choices))
    if label.kind == "mc" and len(answers) == 2 * len(roles):
        answers = answers[: len(roles)]  # acc_mutual_info asks for each choice once more, without the question
    where = f"{name}, row {doc['id']}"
    found = sample_of(
        doc,
        kind=label.kind,
        task=name,
        set_name=label.set,
        response=str(answers[0]) if is_text and not reason else None,
        token_logprobs={} if is_text or reason else _token_logprobs(where, roles=roles, answers=answers),
        choices=choices,
    )
    values = {} if is_text or reason else _token_values(roles=roles, answers=answers)
    return replace(found, unanswered=reason, token_values=values)


def _token_values(*, roles: Sequence[str], answers: Sequence[Any]) -> dict[str, dict[str, tuple[float, ...]]]:
    """By name and role, what a model says of tokens beside their log-probs; only mmforget's own says any."""
    told = {role: getattr(answer, "values", None) or {} for role, answer in zip(roles, answers, strict=True)}
    names = dict.fromkeys(name for values in told.values() for name in values)
    return {name: {role: values[name] for role, values in told.items() if name in values} for name in names}


def _token_logprobs(where: str, *, roles: Sequence[str], answers: Sequence[Any]) -> dict[str, tuple[float, ...]]:
    if len(roles) != len(answers):
        raise UserError(f"task {where}: {len(answers)} answers were scored for {len(roles)} candidates")
    return {
        role: answer.token_logprobs
        for role, answer in zip(roles, answers, strict=True)
        if hasattr(answer, "token_logprobs")
    }
