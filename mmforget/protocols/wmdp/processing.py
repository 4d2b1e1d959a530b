"""WMDP inside stock lm_eval: the `process_results` hook of its tasks that generate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmforget.benchmark.samples import sample_of
from mmforget.metrics.lm_eval import clean_scores, response_of


def process(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """Clean scores of one generated answer by metric name."""
    return clean_scores(("disclosure", "degenerate"), sample_of(doc, kind="gen", response=response_of(results)))
