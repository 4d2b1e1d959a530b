"""Metrics of generated answers as modules of Hugging Face's `evaluate`, for code that computes its numbers there.

module = evaluation_module("rouge_l", args={"part": "f1"})
module.compute(predictions=["Ann lives in Rome."], references=["Ann lives in Oslo."])
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmforget.benchmark.document import MetricName
from mmforget.errors import UserError
from mmforget.metrics.arguments import metric_of
from mmforget.metrics.base import Metric, SampleMetric, check_profile, label_of, sources_of
from mmforget.types import Sample

if TYPE_CHECKING:
    from evaluate import EvaluationModule


def evaluation_module(
    metric: str, *, profile: str = "clean", args: Mapping[str, Any] | None = None
) -> EvaluationModule:
    """A metric with its arguments, in one profile, as an `EvaluationModule`.

    Its `compute` takes `predictions` and `references`, at once or added before in batches, and for all rows together
    `questions`, `keywords` (a list a row) and `subjects`; without subjects every row is one of its own. It returns the
    value under the metric's name, which has its arguments, the 95 % interval as `low` and `high`, `num_scored` and
    `num_unscored`.

    Raises UnknownName for a metric, argument or profile that does not exist, UserError for a metric that reads more
    than generated answers.
    """
    named = MetricName(metric, args or {})
    found = metric_of(named)
    check_profile(found, profile)
    if not isinstance(found, SampleMetric) or found.kind != "gen" or label_of(found) is not None:
        raise UserError(f"metric '{metric}' reads more than a generated answer; {_what_it_reads(found)}")
    return _module_of(found, key=named.key, profile=profile)


def _what_it_reads(metric: Metric) -> str:
    """Why predictions and references are not enough."""
    if not isinstance(metric, SampleMetric):
        return "it is of whole sets or of other metrics, see `mmforget rescore`"
    label = label_of(metric)
    return f"it needs what a judge says of {label}" if label else "it needs the log-probs of candidates"


def _module_of(metric: SampleMetric, *, key: str, profile: str) -> EvaluationModule:
    import datasets
    import evaluate

    class Published(evaluate.Metric):  # type: ignore[misc]
        """One metric in one profile."""

        def _info(self) -> evaluate.MetricInfo:
            return evaluate.MetricInfo(
                description=inspect.getdoc(type(metric)) or "",
                citation=sources_of(metric)[profile],
                inputs_description=inspect.getdoc(evaluation_module) or "",
                features=datasets.Features(dict.fromkeys(("predictions", "references"), datasets.Value("string"))),
            )

        def _compute(self, **columns: Sequence[Any]) -> dict[str, float | int | None]:
            samples = [_sample(number, row) for number, row in enumerate(_rows(columns))]
            found = metric.aggregate([metric.score(sample, profile=profile) for sample in samples])
            counts = {"num_scored": found.num_scored, "num_unscored": found.num_unscored}
            return {key: found.value, "low": found.low, "high": found.high, **counts}

    return Published(config_name=key, keep_in_memory=True)


def _rows(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _sample(number: int, row: Mapping[str, Any]) -> Sample:
    return Sample(
        task="",
        set="",
        kind="gen",
        id=str(number),
        subject=row.get("subjects", str(number)),
        question=row.get("questions", ""),
        answer=row["references"],
        keywords=tuple(row.get("keywords", ())),
        response=row["predictions"],
    )
