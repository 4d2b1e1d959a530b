"""SafeEraser inside stock lm_eval: the `process_results` hooks of its task files, with rules as the judge.

Values are of the `clean` profile. Rules know refusals by their wording alone here; with `mmforget` they know the
benchmark's own as well, and --judge names another judge.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mmforget.benchmark.samples import sample_of
from mmforget.judges.base import label_samples
from mmforget.judges.rules import Rules
from mmforget.metrics.base import METRICS, label_of
from mmforget.metrics.lm_eval import clean_scores, response_of

KEPT_METRICS = ("rouge_l_response", "exact_match", "degenerate")
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
    labels = [label for label in (label_of(METRICS.get(name)) for name in names) if label is not None]
    sample = sample_of(doc, kind="gen", response=response_of(results))
    (judged,) = label_samples([sample], labels=labels, judge=Rules())
    return clean_scores(names, judged)
