"""How deep the forgetting goes: how much of what the retain model's states lack the model's own states lack, too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mmforget.errors import UserError
from mmforget.metrics.base import RATE, Kind, Other, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.paired import paired
from mmforget.types import PATCHED, PLAIN, RETAIN_PATCHED, Estimate, Sample, Score

SAME = 1e-3
"""How far the log-probs of one model may lie apart by rounding, in nats."""


@dataclass(frozen=True)
class UnlearningDepth:
    """Unlearning Depth Score; 1 = the states lack what the retain model's lack, 0 = they hold what the target's hold.

    By layer l, lost(l) is how much the target model's mean log-prob of the answer falls where another model's states
    stand at that layer. Of a row it is sum over l of lost_retain(l) clip(lost(l) / lost_retain(l), 0, 1), over the sum
    of lost_retain(l), where l are the layers with lost_retain(l) > tau. The attack `activation_patching` measures it.

    Source: arXiv 2605.24614, official code (tau 0.05).

    Profiles:
        clean: log-probs and states of all tokens of the answer. Mends that only rows with an annotated entity count.

    Args:
        tau: in nats a token.
    """

    tau: float = 0.05

    name = "unlearning_depth"
    kind: ClassVar[Kind] = "gen"
    other: ClassVar[Other] = "target"
    profiles = {"clean": "the Unlearning Depth Score (arXiv 2605.24614), of whole answers"}
    range = RATE
    higher_is_better = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.tau < math.inf:
            raise UserError(f"tau={self.tau} is not allowed; give a number of nats, at least 0")

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        """The mean over rows with its 95 % interval by subject."""
        check_profile(self, profile)
        return mean_estimate(self, self.pairs(samples, other, profile=profile))

    def pairs(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> list[Score]:
        """The score of every row."""
        return paired(samples, other, score=self._score)

    def _score(self, target: Sample, own: Sample) -> Score:
        reason = _missing(target, own)
        if reason:
            return Score(None, own.subject, reason)
        plain, before = (float(one.states[PLAIN].array()) for one in (own, target))
        if abs(plain - before) > SAME or not _is_target_itself(own, target):
            return Score(None, own.subject, "without an adapter the model is not the target, into which states are put")
        lost, gold = plain - own.states[PATCHED].array(), before - target.states[RETAIN_PATCHED].array()
        if lost.shape != gold.shape or not (np.isfinite(lost).all() and np.isfinite(gold).all()):
            return Score(None, own.subject, "log-probs that are no numbers, or of other layers")
        value = depth(lost.tolist(), gold.tolist(), tau=self.tau)
        if value is None:
            return Score(None, own.subject, "the retain model's states lack nothing at any layer", lacking=True)
        return Score(value, own.subject)


def depth(lost: Sequence[float], gold: Sequence[float], *, tau: float) -> float | None:
    """The score of one row, by layer what is lost with the model's states and with the retain model's."""
    told = [(own, most) for own, most in zip(lost, gold, strict=True) if most > tau]
    if not told:
        return None
    return math.fsum(min(most, max(0.0, own)) for own, most in told) / math.fsum(most for _, most in told)


def _is_target_itself(own: Sample, target: Sample) -> bool:
    """Whether a model that the retain model's states were put into is the target; true of one with an adapter."""
    if RETAIN_PATCHED not in own.states:
        return True
    found, told = (one.states[RETAIN_PATCHED].array() for one in (own, target))
    return found.shape == told.shape and bool((np.abs(found - told) <= SAME).all())


def _missing(target: Sample, own: Sample) -> str:
    for one in (own, target):
        if one.unanswered:
            return one.unanswered
    if RETAIN_PATCHED not in target.states or PLAIN not in target.states:
        return "no states of a retain model were put into the target model"
    if PATCHED not in own.states or PLAIN not in own.states:
        return "no target model lies below it, as below an adapter, so its states could not be put into that"
    return ""


METRIC = UnlearningDepth()
