"""UnLOK-VQA inside stock lm_eval: the `process_results` hook of its tasks of kind `prob`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmforget.metrics.lm_eval import prob_scores

PROB_METRICS = ("probability",)


def process_prob(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """Clean scores of an answer by metric name; NaN with a model that returns no token log-probs."""
    return prob_scores(PROB_METRICS, doc, results)
