"""Answers scored once more behind the pictures of another subject, where a metric reads how far these move them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mmforget.attacks.base import Lacking, Others
from mmforget.attacks.picturing import about_others_pictures
from mmforget.evaluation.prefixed import first_candidates
from mmforget.evaluation.tasks import LoadedTasks
from mmforget.evaluation.token_statistics import metrics_on
from mmforget.lm import inside
from mmforget.lm.adapter import MMForgetLM
from mmforget.metrics.base import reads_swapped
from mmforget.types import SWAPPED, Sample


def with_swapped(lm: MMForgetLM, loaded: LoadedTasks, samples: Sequence[Sample]) -> list[Sample]:
    """Samples with the role `swapped/answer`: log-probs where the question shows another subject's pictures.

    Rows without pictures, and those for which no row of the task shows another subject in as many, have none.
    """
    found = {(task, name): one for task in _wanted(loaded) for name, one in _swapped(lm, loaded, task).items()}
    return [
        replace(sample, token_logprobs={**sample.token_logprobs, f"{SWAPPED}/answer": found[sample.task, sample.id]})
        if sample.attack is None and (sample.task, sample.id) in found
        else sample
        for sample in samples
    ]


def _wanted(loaded: LoadedTasks) -> list[str]:
    """The tasks that score answers about pictures, and whose metrics, or those that compare with them, read this."""
    return [
        name
        for name, owner in loaded.owners.items()
        if loaded.labels[name].kind == "prob"
        and loaded.labels[name].modality != "text"
        and any(map(reads_swapped, metrics_on(loaded.labels[name].set, owner.benchmark)))
    ]


def _swapped(lm: MMForgetLM, loaded: LoadedTasks, task: str) -> dict[str, tuple[float, ...]]:
    """By row, the log-probs of its answer behind another's pictures."""
    requests = first_candidates(loaded.tasks[task])
    asks = lm.asks(requests, method="loglikelihood")
    others = Others(*inside.rows_and_pictures(loaded.tasks[task]))
    made = [about_others_pictures(ask, others) for ask in asks]
    groups = [[] if isinstance(one, Lacking) else [replace(one, statistics=())] for one in made]
    tried = lm.tried(groups, label="others' pictures")
    return {
        str(request.doc["id"]): answers[0].token_logprobs
        for request, answers in zip(requests, tried, strict=True)
        if answers and hasattr(answers[0], "token_logprobs")
    }
