"""The same metrics inside lm_eval: `process_results` hooks for task YAML, with any model that lm_eval can run.

Values are of the `clean` profile. Probabilities need the log-prob of every token, which only mmforget's own model
returns; with another model these metrics are NaN, said once, and `mean_scored` reports NaN instead of a made-up number.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from mmforget.benchmark.rows import candidate_roles
from mmforget.benchmark.samples import sample_of
from mmforget.metrics.base import METRICS, SampleMetric
from mmforget.plugins import running
from mmforget.types import NoScores, Sample

PROFILE = "clean"
GEN_METRICS = ("rouge_l", "exact_match", "keyword_em", "degenerate")
PROB_METRICS = ("probability", "probability_normalised", "truth_ratio", "truth_ratio_retain", "min_k")

_log = logging.getLogger(__name__)


def process_gen(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """Scores of one generated answer by metric name; NaN where a metric could not score it.

    Args:
        doc: a row with `answer`, and where present `id`, `subject`, `question`, `keywords`.
        results: the response, or a list of responses of which the first counts.
    """
    return clean_scores(GEN_METRICS, sample_of(doc, kind="gen", response=response_of(results)))


def process_prob(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """Scores of one row's candidate answers by metric name; NaN for all without token log-probs.

    Args:
        doc: a row with `answer`, `answer_rephrased`, `answer_perturbed`.
        results: one `(log-likelihood, is_greedy)` a candidate, in the order of `candidate_roles`.

    Raises ValueError where there are not as many results as candidates.
    """
    return prob_scores(PROB_METRICS, doc, results)


def prob_scores(names: Sequence[str], doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """`process_prob` for the metrics of these names."""
    named = dict(zip(candidate_roles(doc), results, strict=True))
    if not all(hasattr(result, "token_logprobs") for result in named.values()):
        if not any(isinstance(result, NoScores) for result in named.values()):
            _say_once(tuple(names))
        return dict.fromkeys(names, math.nan)
    logprobs = {role: tuple(result.token_logprobs) for role, result in named.items()}
    return clean_scores(names, sample_of(doc, kind="prob", token_logprobs=logprobs))


def response_of(results: Sequence[Any]) -> str:
    """The generated answer: a text, or the first of a list of texts."""
    first = results[0]
    return str(first if isinstance(first, str) else first[0])


def mean_scored(values: Iterable[float]) -> float:
    """Mean of the values that are not NaN, NaN where none is: an `aggregation` for metrics that may be unscored."""
    scored = [value for value in values if not math.isnan(value)]
    return math.fsum(scored) / len(scored) if scored else math.nan


def clean_scores(names: Iterable[str], sample: Sample) -> dict[str, float]:
    """Scores of a sample by metric name, in the profile `clean`; NaN where a metric could not score it."""
    found = {}
    for name in names:
        metric = METRICS.get(name)
        if isinstance(metric, SampleMetric):
            with running(metric, what=f"metric '{name}': score"):
                value = metric.score(sample, profile=PROFILE).value
            found[name] = math.nan if value is None else value
    return found


@cache
def _say_once(names: tuple[str, ...]) -> None:
    _log.warning(
        "this model returns no token log-probs, so %s are NaN; run `mmforget eval`, or `--model mmforget`, to get them",
        ", ".join(names),
    )
