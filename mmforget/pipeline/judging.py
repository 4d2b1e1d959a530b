"""What a judge says of the answers, where a benchmark's metrics read that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mmforget.benchmark.spec import Benchmark, Bound
from mmforget.evaluation.answers import Answers
from mmforget.judges.base import Judge, label_samples, labels_of, names_given
from mmforget.judges.naming import judge_from
from mmforget.types import Sample


class Judged(NamedTuple):
    """Samples with the labels that were asked for, and who gave them; nobody where no metric reads a label."""

    samples: Answers
    by: Mapping[str, Any]


def find_judge(text: str, *, bound: Bound, device: str | None = None) -> Judge | None:
    """The judge that `--judge` names; None where no metric of the benchmark asks one. Loads nothing yet.

    Raises UserError where it may not be used on this benchmark or lacks a model or key.
    """
    judge = judge_from(
        text,
        local_only=bound.benchmark.document.judges == "local",
        refusals=bound.refusals,
        device=device,
    )
    return judge if labels_of(bound.benchmark) else None


def judged(samples: Sequence[Sample], *, benchmark: Benchmark, judge: Judge | None) -> Judged:
    """The samples as the judge labels them; labels that it does not give are left out, and metrics say so."""
    if judge is None:
        return Judged(Answers.of(samples), {})
    given = names_given(judge)
    labels = {name: [one for one in wanted if one in given] for name, wanted in labels_of(benchmark).items()}
    return Judged(Answers(label_samples(samples, labels=labels, judge=judge)), judge.describe())
