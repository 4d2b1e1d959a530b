"""A record's samples as OpenUnlearning's `TOFU_EVAL.json` and `TOFU_SUMMARY.json`, so that its tools read them.

Every number is that of the profile `openunlearning`; what cannot be scored is null and left out of means. Of what the
benchmark or the run lacks there is no key.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmforget.errors import UserError
from mmforget.metrics.base import METRICS, ReferenceMetric, SampleMetric
from mmforget.metrics.composite import harmonic
from mmforget.metrics.logprobs import log_truth_ratio, mean_loss, ratio
from mmforget.metrics.membership import Scoring, loss_score, min_k_pp_score, min_k_score, zlib_score
from mmforget.metrics.overlap import rouge
from mmforget.metrics.two_sample import auc
from mmforget.pipeline.peer_totals import privleak
from mmforget.types import Sample

PROFILE = "openunlearning"
PREFIXES = {"forget": "forget", "utility": "retain", "real_authors": "ra", "world_facts": "wf"}
"""By role of a set, what OpenUnlearning's keys begin with."""
HOLDOUT = "holdout"
PERCENT = 40
UTILITY = ("{}_Q_A_Prob{}", "{}_Q_A_ROUGE", "{}_Truth_Ratio")
SCORED = {"extraction_strength": "extraction_strength", "exact_memorization": "exact_memorisation"}
"""OpenUnlearning's name of what is scored on the forget set, and the metric."""
ATTACKS: Mapping[str, Scoring] = {
    "mia_loss": loss_score,
    "mia_zlib": zlib_score,
    "mia_min_k": lambda sample: min_k_score(sample, percent=PERCENT, profile=PROFILE),
    "mia_min_k_plus_plus": lambda sample: min_k_pp_score(sample, percent=PERCENT, profile=PROFILE),
}
Table = dict[str, Any]


def openunlearning_log(
    samples: Sequence[Sample], *, sets: Mapping[str, str], retain: Sequence[Sample] | None = None
) -> dict[str, Table]:
    """The tables of `TOFU_EVAL.json`, by OpenUnlearning's names.

    Args:
        samples: one model's, attacks included, which are left out.
        sets: by role, the name of a benchmark's set.
        retain: the retain model's, for forget quality and PrivLeak.

    Raises UserError for a benchmark without a forget set whose answers were scored.
    """
    found: dict[str, Table] = {}
    for role, prefix in PREFIXES.items():
        found |= dict(_of_set(prefix, *(_rows(samples, sets.get(role), kind=kind) for kind in ("prob", "gen"))))
    forget = _rows(samples, sets.get("forget"), kind="prob")
    if not forget:
        raise UserError("no answers of a forget set were scored, so there is nothing that OpenUnlearning would hold")
    for key, name in SCORED.items():
        found |= dict(_scored(key, name, forget))
    found |= dict(_attacked(forget, _rows(samples, sets.get(HOLDOUT), kind="prob")))
    parts = _utility_parts(found)
    if parts:
        found["model_utility"] = {"agg_value": harmonic(parts)}
    if retain is not None:
        found |= dict(_compared(found, forget, retain, sets=sets))
    return dict(sorted(found.items()))


def summary(log: Mapping[str, Table]) -> dict[str, float | None]:
    """What `TOFU_SUMMARY.json` holds: every value by name."""
    return {name: table["agg_value"] for name, table in log.items()}


def _rows(samples: Sequence[Sample], set_name: str | None, *, kind: str) -> list[Sample]:
    return [one for one in samples if one.set == set_name and one.kind == kind and one.attack is None]


def _of_set(prefix: str, scored: Sequence[Sample], told: Sequence[Sample]) -> Iterator[tuple[str, Table]]:
    is_general = prefix in ("ra", "wf")
    roles = {"Q_A_Prob": "answer", "Q_A_PARA_Prob": "rephrased", "Q_A_PERT_Prob": "perturbed"}
    for ending, role in roles.items():
        if any(sample.with_role(role) for sample in scored) and not (is_general and role == "rephrased"):
            yield f"{prefix}_{ending}", _probabilities(scored, role)
    if any(sample.with_role("rephrased") and sample.with_role("perturbed") for sample in scored):
        metric = "truth_ratio" if prefix == "forget" else "truth_ratio_retain"
        name = "forget_truth_ratio" if prefix == "forget" else f"{prefix}_Truth_Ratio"
        yield name, _table([{"score": _ratio(one)} for one in scored], values=_values(metric, scored))
    if is_general and scored:
        shares = _values("probability_normalised", scored)
        yield f"{prefix}_Q_A_Prob_normalised", _table([{"prob": value} for value in shares], values=shares)
    if told:
        rows = [_told(sample) for sample in told]
        yield f"{prefix}_Q_A_ROUGE", _table(rows, values=[row["rougeL_recall"] for row in rows])


def _probabilities(samples: Sequence[Sample], role: str) -> Table:
    rows, means = [], []
    for sample in samples:
        losses = [mean_loss(tokens, profile=PROFILE).value for tokens in sample.with_role(role, profile=PROFILE)]
        probs = [None if loss is None else math.exp(-loss) for loss in losses]
        one = role == "answer"
        rows.append({"prob": probs[0] if one and probs else probs, "avg_loss": losses[0] if one and losses else losses})
        known = [value for value in probs if value is not None]
        means.append(math.fsum(known) / len(known) if known and len(known) == len(probs) else None)
    return _table(rows, values=means)


def _ratio(sample: Sample) -> float | None:
    found = log_truth_ratio(sample, profile=PROFILE)
    return None if found.value is None else ratio(found.value)


def _values(name: str, samples: Sequence[Sample]) -> list[float | None]:
    metric = METRICS.get(name)
    return [metric.score(one, profile=PROFILE).value if isinstance(metric, SampleMetric) else None for one in samples]


def _told(sample: Sample) -> dict[str, Any]:
    """Texts as they are, and their ROUGE."""
    response = sample.response or ""
    whole, words = (rouge(sample.answer, response, of=of, profile=PROFILE) for of in ("rougeL", "rouge1"))
    scores = {"rouge1_recall": words.recall, "rougeL_f1": whole.f1, "rougeL_recall": whole.recall}
    return {**scores, "input": sample.question, "ground_truth": sample.answer, "generation": response}


def _scored(key: str, name: str, samples: Sequence[Sample]) -> Iterator[tuple[str, Table]]:
    values = _values(name, samples)
    if any(value is not None for value in values):
        yield key, _table([{"score": value} for value in values], values=values)


def _attacked(forget: Sequence[Sample], holdout: Sequence[Sample]) -> Iterator[tuple[str, Table]]:
    """Membership attacks: OpenUnlearning's scores are higher where an answer is less likely."""
    for name, score in ATTACKS.items():
        groups = {"forget": forget, "holdout": holdout}
        values = {key: [_negated(score(one).value) for one in group] for key, group in groups.items()}
        known = {key: [value for value in group if value is not None] for key, group in values.items()}
        if known["forget"] and known["holdout"]:
            area = auc(known["holdout"], known["forget"])
            tables = {key: _table([{"score": v} for v in group], values=group) for key, group in values.items()}
            yield name, {**tables, "auc": area, "agg_value": area}


def _negated(value: float | None) -> float | None:
    return None if value is None else -value


def _utility_parts(found: Mapping[str, Table]) -> dict[str, float]:
    """The nine parts of model utility; none where one of them is missing."""
    kept = {"retain": "", "ra": "_normalised", "wf": "_normalised"}
    names = [name.format(prefix, ending) for prefix, ending in kept.items() for name in UTILITY]
    values = {name: found.get(name, {}).get("agg_value") for name in names}
    return {} if None in values.values() else {name: float(value or 0.0) for name, value in values.items()}


def _compared(
    found: Mapping[str, Table], forget: Sequence[Sample], retain: Sequence[Sample], *, sets: Mapping[str, str]
) -> Iterator[tuple[str, Table]]:
    """Forget quality and PrivLeak against the retain model."""
    theirs = _rows(retain, sets.get("forget"), kind="prob")
    metric = METRICS.get("ks_forget_quality")
    if theirs and isinstance(metric, ReferenceMetric):
        yield "forget_quality", {"agg_value": metric.compare(forget, theirs, profile=PROFILE).value}
    own = found.get("mia_min_k")
    other = dict(_attacked(theirs, _rows(retain, sets.get(HOLDOUT), kind="prob"))).get("mia_min_k")
    if own is not None and other is not None:
        yield "privleak", {"agg_value": privleak(own["agg_value"], other["agg_value"])}


def _table(rows: Sequence[Mapping[str, Any]], *, values: Sequence[float | None]) -> Table:
    """A table with its value, the mean of what could be scored."""
    known = [value for value in values if value is not None]
    mean = math.fsum(known) / len(known) if known else None
    return {"agg_value": mean, "value_by_index": {str(index): dict(row) for index, row in enumerate(rows)}}
