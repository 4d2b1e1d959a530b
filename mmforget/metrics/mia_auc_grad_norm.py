"""Membership inference by gradients: what was trained on has little left to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from mmforget.metrics.base import NAMED_PROFILES, OPENUNLEARNING, RATE, Kind, Other, check_profile
from mmforget.metrics.membership import gradient_norm_score
from mmforget.metrics.mia_auc import auc_estimate
from mmforget.types import GRADIENT_NORM, GRADIENT_NORM_BUT_LAST, Estimate, Sample


@dataclass(frozen=True)
class MiaAucGradNorm:
    """AUC of minus the gradient's norm at the true answer, members = forget set, non-members = holdout, in [0, 1].

    The norm is the mean over weight tensors of the L2 norm of the gradient of the answer's mean negative log-prob, for
    which every answer takes a backward pass of its own. Unscored under a guard, which defines no gradient, and of
    quantised weights. Read like `mia_auc`.

    Source: GradNorm of OpenUnlearning (arXiv 2506.12618), after MIMIR (arXiv 2402.07841).

    Profiles:
        clean: as above, what rounding alone tells apart being a tie. Mends the last token that is left out as the end
            of the answer.
        openunlearning: without the last token, with ties of equal floats only; an answer that has no other is unscored.
    """

    name = "mia_auc_grad_norm"
    kind: ClassVar[Kind] = "prob"
    other: ClassVar[Other] = "holdout"
    profiles = {"clean": "mmforget", "openunlearning": OPENUNLEARNING}
    range = RATE
    higher_is_better = None
    statistics: ClassVar[tuple[str, ...]] = (GRADIENT_NORM, GRADIENT_NORM_BUT_LAST)

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        """AUC with its 95 % interval by subjects of both groups."""
        check_profile(self, profile)
        score = partial(gradient_norm_score, profile=profile)
        return auc_estimate(self, samples, other, score=score, as_coded=profile in NAMED_PROFILES)


METRIC = MiaAucGradNorm()
