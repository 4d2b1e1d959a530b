"""What a peer's file states beside its rows, against what its rows give."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from mmforget.metrics.logprobs import EPSILON
from mmforget.metrics.two_sample import auc
from mmforget.results.peers.log import PeerLog
from mmforget.types import Estimate

Cells = Mapping[str, Mapping[str, Estimate]]
KEYS: Mapping[tuple[str, str], str] = {
    ("forget", "probability"): "forget_Q_A_Prob",
    ("forget", "rouge_l"): "forget_Q_A_ROUGE",
    ("forget", "truth_ratio"): "forget_truth_ratio",
    ("retain", "probability"): "retain_Q_A_Prob",
    ("retain", "rouge_l"): "retain_Q_A_ROUGE",
    ("retain", "truth_ratio_retain"): "retain_Truth_Ratio",
    ("real_authors", "probability_normalised"): "ra_Q_A_Prob_normalised",
    ("real_authors", "rouge_l"): "ra_Q_A_ROUGE",
    ("real_authors", "truth_ratio_retain"): "ra_Truth_Ratio",
    ("world_facts", "probability_normalised"): "wf_Q_A_Prob_normalised",
    ("world_facts", "rouge_l"): "wf_Q_A_ROUGE",
    ("world_facts", "truth_ratio_retain"): "wf_Truth_Ratio",
    ("forget_knowmem", "rouge_l(part=f1)"): "forget_knowmem_ROUGE",
    ("retain_knowmem", "rouge_l(part=f1)"): "retain_knowmem_ROUGE",
    ("forget_verbmem", "rouge_l(part=f1)"): "forget_verbmem_ROUGE",
}
"""OpenUnlearning's name of a number, by set and metric."""
MEANS = ("exact_memorization", "extraction_strength")
"""Numbers that are the mean of what is kept a row, and that nothing else of the file gives."""
PRIVLEAK = "mia_min_k"
"""The attack whose AUC PrivLeak compares."""
TOLERANCE = 1e-5
"""How far a number of the file may lie from that of its rows: losses are kept in single precision."""


class Total(NamedTuple):
    """A number of the file, None where it has none, and that of its rows."""

    stated: float | None
    found: float | None

    @property
    def differs(self) -> bool:
        if self.stated is None or self.found is None or not math.isfinite(self.stated):
            return False
        return abs(self.stated - self.found) > TOLERANCE * max(1.0, abs(self.found))


def totals(
    log: PeerLog, *, cells: Cells, utility: Estimate | None, p: float | None, reference: PeerLog | None
) -> dict[str, Total]:
    """By the file's own names, what it states and what its rows give in the peer's profile.

    Args:
        p: forget quality against the reference, where there is one.
    """
    found: dict[str, float | None] = {**dict(_means(log)), **dict(_areas(log))}
    found |= {
        key: estimate.value for (set_name, name), key in KEYS.items() if (estimate := _cell(cells, set_name, name))
    }
    if log.peer == "lm_eval":
        found |= {f"{name}/acc": one.value for name, group in cells.items() if (one := group.get("choice_accuracy"))}
    if utility is not None:
        found["model_utility"] = utility.value
    if p is not None and log.peer == "openunlearning":
        found["forget_quality"] = p
    own, other = found.get(PRIVLEAK), None if reference is None else dict(_areas(reference)).get(PRIVLEAK)
    if own is not None and other is not None:
        found["privleak"] = privleak(own, other)
    return {name: Total(log.totals.get(name), found.get(name)) for name in dict.fromkeys((*log.totals, *found))}


def privleak(own: float, retain: float) -> float:
    """PrivLeak in percent of two AUCs at which 1 is a forget set that is known; 0 is as the retain model."""
    return (retain - own) / (1.0 - retain + EPSILON) * 100.0


def _cell(cells: Cells, set_name: str, name: str) -> Estimate | None:
    return cells.get(set_name, {}).get(name)


def _means(log: PeerLog) -> Iterator[tuple[str, float]]:
    for name in MEANS:
        values = list(log.stored.get(name, {}).values())
        if values:
            yield name, math.fsum(values) / len(values)


def _areas(log: PeerLog) -> Iterator[tuple[str, float]]:
    """AUC of each membership attack: the chance that a holdout row scores above a forget row, which is less likely."""
    for name in dict.fromkeys(key.partition("/")[0] for key in log.stored if "/" in key):
        forget, holdout = (list(log.stored.get(f"{name}/{group}", {}).values()) for group in ("forget", "holdout"))
        if forget and holdout:
            yield name, auc(holdout, forget)
