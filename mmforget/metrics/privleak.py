"""Privacy leakage: how far membership in the forget set can be told better or worse than from the retain model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from mmforget.errors import UserError
from mmforget.metrics.base import MUSE_CODE, OPENUNLEARNING, Kind, Other, check_profile
from mmforget.metrics.estimate import is_constant, no_estimate, reasons_of_both, with_interval
from mmforget.metrics.logprobs import EPSILON
from mmforget.metrics.membership import REFERENCE, min_k_score
from mmforget.metrics.mia_auc import check_apart
from mmforget.metrics.two_sample import auc_replicates, group_of
from mmforget.statistics.jackknife import derived
from mmforget.types import Estimate, Replicates, Sample, Score

ENDLESS = (-math.inf, math.inf)


@dataclass(frozen=True)
class PrivLeak:
    """(a - r) / r in percent, at least -100; 0 = as the retain model, -100 = the forget set is wholly given away.

    a = 1 - AUC of Min-K % of the true answer with members = forget set and non-members = holdout, r the retain model's.
    Large positive values say that forgotten answers are avoided, which gives them away as well.

    Args:
        percent: K, from 1 to 100.
        retrained: r itself, above 0, where there is no retain model: MUSE's code has .4772 for News, .5393 for Books.
            0: the retain model's, without which there is no value.

    Source: MUSE (arXiv 2407.06460), "PrivLeak".

    Profiles:
        muse_paper: floor(T K / 100) lowest tokens without a least one, so that short texts are unscored.
        openunlearning: at least one token, the last one left out, and 1e-10 added to r (arXiv 2506.12618). The .5 that
            it takes where it has no retain model is not invented here.
        clean: at least one token of all. Mends both.
    """

    percent: int = 40
    retrained: float = 0.0

    name = "privleak"
    kind: ClassVar[Kind] = "prob"
    other: ClassVar[Other] = "holdout"
    profiles = {"muse_paper": MUSE_CODE, "openunlearning": OPENUNLEARNING, "clean": "mmforget"}
    range = (-100.0, 1e12)
    higher_is_better = None

    def __post_init__(self) -> None:
        if not 1 <= self.percent <= 100:
            raise UserError(f"percent is {self.percent}; give a whole number from 1 to 100")
        if not 0.0 <= self.retrained <= 1.0:
            raise UserError(
                f"retrained is {self.retrained}; give 1 - AUC of the retain model, above 0 and at most 1, or 0"
            )

    @property
    def reads_reference(self) -> bool:
        """Whether samples have to hold the role `reference/answer`, of the retain model."""
        return self.retrained == 0.0

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        """The difference with its 95 % interval by subjects of both groups."""
        check_profile(self, profile)
        check_apart(samples, other)
        groups = [list(samples), list(other)]
        scores = [[self._score(sample, profile=profile) for sample in group] for group in groups]
        reasons = reasons_of_both(*scores, called="holdout")
        counts = self._counts(scores)
        own = _area(scores)
        if own is None:
            return no_estimate(self, reasons=(*reasons, "no scored members, or no non-members"), **counts)
        parts = {"own": own}
        if self.reads_reference:
            swapped = [[_of_reference(sample) for sample in group] for group in groups]
            retain = _area([[self._score(sample, profile=profile) for sample in group] for group in swapped])
            if retain is None:
                return no_estimate(self, reasons=(*reasons, "no log-probs of the retain model"), **counts)
            parts["retain"] = retain
        return self._estimate(parts, scores=scores, reasons=reasons, profile=profile)

    def _estimate(
        self,
        parts: Mapping[str, Replicates],
        *,
        scores: Sequence[Sequence[Score]],
        reasons: tuple[str, ...],
        profile: str,
    ) -> Estimate:
        added = EPSILON if profile == "openunlearning" else 0.0
        counts = self._counts(scores)

        def leak(areas: Mapping[str, float]) -> float:
            r = 1.0 - areas["retain"] if "retain" in areas else self.retrained
            return ((1.0 - areas["own"]) - r) / max(EPSILON, r + added) * 100.0

        found = derived(leak, parts)
        if not added and "retain" in parts and parts["retain"].value == 1.0:
            told = "the retain model gives all members away (its AUC is 1): nothing can be compared with that"
            return no_estimate(self, reasons=(*reasons, told), **counts)
        values = [score.value for group in scores for score in group if score.value is not None]
        estimate = Estimate(
            value=min(self.range[1], max(self.range[0], found.value)),
            num_scored=len(values),
            range=self.range,
            constant=is_constant(values),
            reasons=reasons,
            num_unscored=counts["num_unscored"],
            num_lacking=counts["num_lacking"],
        )
        return with_interval(estimate, found, bounds=ENDLESS)

    def _score(self, sample: Sample, *, profile: str) -> Score:
        return min_k_score(sample, percent=self.percent, profile=profile)

    @staticmethod
    def _counts(scores: Sequence[Sequence[Score]]) -> dict[str, int]:
        missing = [score for group in scores for score in group if score.value is None]
        num_lacking = sum(score.lacking for score in missing)
        return {"num_unscored": len(missing) - num_lacking, "num_lacking": num_lacking}


def _area(scores: Sequence[Sequence[Score]]) -> Replicates | None:
    members, outside = map(group_of, scores)
    return auc_replicates(members, outside) if members.values and outside.values else None


def _of_reference(sample: Sample) -> Sample:
    """The sample as the retain model answered it."""
    found = sample.token_logprobs.get(REFERENCE)
    return replace(sample, token_logprobs={} if found is None else {"answer": found}, token_values={})


METRIC = PrivLeak()
