"""MMUBench inside stock lm_eval: the `process_results` hooks of its task files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmforget.benchmark.samples import sample_of
from mmforget.metrics.lm_eval import clean_scores, prob_scores, response_of

GEN_METRICS, PROB_METRICS = ("concept_em", "degenerate"), ("probability", "fluency")


def process_gen(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """Clean scores of one generated answer by metric name; NaN where one could not be scored."""
    return clean_scores(GEN_METRICS, sample_of(doc, kind="gen", response=response_of(results)))


def process_prob(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """Clean scores of a scored text by metric name; NaN with a model that returns no token log-probs."""
    return prob_scores(PROB_METRICS, doc, results)
