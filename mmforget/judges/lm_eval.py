"""Judged metrics inside stock lm_eval: `process_results` hooks for task YAML, with rules as the judge.

Values are of the `clean` profile. Rules know refusals by their wording alone here; with `mmforget` they know the
benchmark's own as well, and --judge names another judge.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mmforget.judges.base import label_samples
from mmforget.judges.rules import Rules
from mmforget.metrics.base import METRICS, SampleMetric, label_of
from mmforget.types import Sample

PROFILE = "clean"
KEPT_METRICS = ("rouge_l_recall", "exact_match", "degenerate")
HARMFUL_METRICS = ("asr", "rr", *KEPT_METRICS)
BENIGN_METRICS = ("sarr", *KEPT_METRICS)


def process_harmful(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """Scores of an answer to a harmful question by metric name; NaN where a metric could not score it.

    Args:
        doc: a row.
        results: the response, or a list of responses of which the first counts.
    """
    return _scores(HARMFUL_METRICS, doc, results)


def process_benign(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """The same for an answer about a harmless image."""
    return _scores(BENIGN_METRICS, doc, results)


def process_kept(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """The same for an answer that no judge has to look at."""
    return _scores(KEPT_METRICS, doc, results)


def _scores(names: Collection[str], doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
    metrics = {name: metric for name in names if isinstance(metric := METRICS.get(name), SampleMetric)}
    labels = [label for label in map(label_of, metrics.values()) if label is not None]
    (sample,) = label_samples([_sample(doc, results)], labels=labels, judge=Rules())
    values = {name: metric.score(sample, profile=PROFILE).value for name, metric in metrics.items()}
    return {name: math.nan if value is None else value for name, value in values.items()}


def _sample(doc: Mapping[str, Any], results: Sequence[Any]) -> Sample:
    first = results[0]
    return Sample(
        task="",
        set="",
        kind="gen",
        id=doc["id"],
        subject=doc["subject"],
        question=doc["question"],
        answer=doc["answer"],
        response=str(first if isinstance(first, str) else first[0]),
        extra=json.loads(doc["extra"] or "{}"),
    )
