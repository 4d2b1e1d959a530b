"""OFFSIDE inside stock lm_eval: the `process_results` hooks of its task files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmforget.benchmark.samples import sample_of
from mmforget.metrics.lm_eval import clean_scores, response_of

ANSWER_METRICS = ("generation_overall", "rouge_f1", "bleu", "attribute_match", "exact_match", "degenerate")
CHOICE_METRICS = ("option_accuracy",)


def process(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """Clean scores of one generated answer by metric name; NaN where a metric does not score it."""
    return clean_scores(ANSWER_METRICS, sample_of(doc, kind="gen", response=response_of(results)))


def process_choice(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """The same for an answer that is to be a letter."""
    return clean_scores(CHOICE_METRICS, sample_of(doc, kind="gen", response=response_of(results)))
