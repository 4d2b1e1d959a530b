"""RWKU's membership inference: how improbable texts about the targets, and about others, have become."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import RWKU_CODE, Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.logprobs import NOT_FINITE
from mmforget.types import Sample, Score

MOST = 1e6
PERCENT = 100.0


@dataclass(frozen=True)
class TextLoss:
    """Mean over texts of their tokens' mean negative log-prob, in nats a token, at least 0.

    It has risen on texts about the targets (FM) where these are forgotten, and should not on those about others (RM).

    Source: RWKU (arXiv 2406.10890), FM and RM of the LOSS attack.

    Profiles:
        rwku_paper: a hundred times that, which is what the published table prints.
        clean: nats. Mends nothing but the unit: a text with a log-prob that is no number is unscored in both.
    """

    name = "text_loss"
    kind: ClassVar[Kind] = "roll"
    profiles = {"rwku_paper": RWKU_CODE, "clean": "mmforget"}
    range = (0.0, MOST)
    higher_is_better = False
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """The loss of one text."""
        check_profile(self, profile)
        values = sample.token_logprobs.get("answer")
        if not values:
            return Score(None, sample.subject, sample.unanswered or "no log-probs of the text")
        if any(math.isnan(value) or value == math.inf for value in values):
            return Score(None, sample.subject, NOT_FINITE)
        loss = max(0.0, -math.fsum(values) / len(values))
        return Score(min(MOST, loss * (PERCENT if profile == "rwku_paper" else 1.0)), sample.subject)


METRIC = TextLoss()
