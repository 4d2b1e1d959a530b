"""MUSE inside stock lm_eval: `process_results` hooks of its tasks. ROUGE-L is its F1, as MUSE reports it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mmforget.benchmark.samples import sample_of
from mmforget.metrics.lm_eval import clean_scores, prob_scores, response_of
from mmforget.metrics.rouge_l import RougeL


def process(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """Clean scores of one generated answer by metric name."""
    sample = sample_of(doc, kind="gen", response=response_of(results))
    value = RougeL(part="f1").score(sample).value
    return {"rouge_l": math.nan if value is None else value, **clean_scores(("degenerate",), sample)}


def process_continuation(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """The clean probability of what follows a beginning."""
    return prob_scores(("probability",), doc, results)
