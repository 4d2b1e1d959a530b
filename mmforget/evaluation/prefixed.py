"""Answers scored once more behind rows that no model has seen, where a metric reads how far these move them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from mmforget.asking import Ask
from mmforget.benchmark.spec import Bound
from mmforget.evaluation.tasks import LoadedTasks
from mmforget.evaluation.token_statistics import metrics_on
from mmforget.lm import inside
from mmforget.lm.adapter import MMForgetLM
from mmforget.metrics.base import prefix_read
from mmforget.types import PREFIXED, Sample

BETWEEN = "\n\n"
SPECIAL = 2
"""Tokens that a tokenizer may put around a text."""


class Prefixed(NamedTuple):
    """A task whose answers are scored behind the first rows of another."""

    task: str
    holdout: str
    num_rows: int


def with_prefixes(
    lm: MMForgetLM, loaded: LoadedTasks, samples: Sequence[Sample], *, template: bool | str
) -> list[Sample]:
    """Samples with roles `prefixed/N/answer`: log-probs with the first N rows of the holdout set in front.

    Those for which there is no room have none, nor has any in a chat template, which would have to begin in
    the middle, or beside pictures.
    """
    found: dict[tuple[str, str], dict[str, tuple[float, ...]]] = {}
    for one in [] if template else wanted_prefixes(loaded):
        for name, values in _behind(lm, loaded, one).items():
            found.setdefault((one.task, name), {})[f"{PREFIXED}/{one.num_rows}/answer"] = values
    return [
        replace(sample, token_logprobs={**sample.token_logprobs, **found[key]})
        if sample.attack is None and (key := (sample.task, sample.id)) in found
        else sample
        for sample in samples
    ]


def wanted_prefixes(loaded: LoadedTasks) -> list[Prefixed]:
    """Every task and number of rows that metrics on its set read, also of the holdout set that they compare with."""
    found: dict[Prefixed, None] = {}
    for name, owner in loaded.owners.items():
        label = loaded.labels[name]
        holdout = _holdout_task(owner, kind=label.kind, loaded=loaded)
        if label.kind == "prob" and label.modality == "text" and holdout is not None:
            sizes = [prefix_read(metric) for metric in metrics_on(label.set, owner.benchmark)]
            found |= dict.fromkeys(Prefixed(name, holdout, size) for size in sizes if size)
    return list(found)


def _holdout_task(owner: Bound, *, kind: str, loaded: LoadedTasks) -> str | None:
    named = [task for task in owner.benchmark.tasks if (task.set, task.kind) == (owner.benchmark.holdout_set, kind)]
    return next((task.name for task in named if task.name in loaded.tasks), None)


def _behind(lm: MMForgetLM, loaded: LoadedTasks, one: Prefixed) -> Mapping[str, tuple[float, ...]]:
    """By row, the log-probs of its answer behind the prefix."""
    unseen = first_candidates(loaded.tasks[one.holdout])[: one.num_rows]
    prefix = "".join(f"{request.args[0]}{request.args[1]}{BETWEEN}" for request in unseen)
    requests = [
        request
        for request in first_candidates(loaded.tasks[one.task])
        if len(lm.loaded.token_ids(f"{prefix}{request.args[0]}{request.args[1]}")) + SPECIAL <= lm.max_length
    ]
    tried = lm.attempts(
        requests, method="loglikelihood", attack=partial(_moved, prefix=prefix), label="behind rows nobody has seen"
    )
    return {
        str(request.doc["id"]): answers[0].token_logprobs
        for request, answers in zip(requests, tried, strict=True)
        if hasattr(answers[0], "token_logprobs")
    }


def first_candidates(task: Any) -> list[Any]:
    """The request of each document's true answer."""
    return [request for request in inside.requests_of(task) if request.idx == 0]


def _moved(ask: Ask, *, prefix: str) -> list[Ask]:
    return [replace(ask, context=prefix + ask.context, statistics=())]
