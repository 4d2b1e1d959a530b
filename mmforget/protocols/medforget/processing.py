"""MedForget inside stock lm_eval: the `process_results` hook of its task files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmforget.benchmark.samples import sample_of
from mmforget.metrics.lm_eval import clean_scores, response_of

METRIC_NAMES = ("answer_accuracy", "rouge_l_f1", "exact_match", "degenerate")


def process(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """Clean scores of one generated answer by metric name; NaN where a metric does not score it."""
    return clean_scores(METRIC_NAMES, sample_of(doc, kind="gen", response=response_of(results)))
