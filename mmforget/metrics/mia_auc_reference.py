"""Membership inference by loss against the retain model's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import NAMED_PROFILES, OPENUNLEARNING, RATE, Kind, Other, check_profile
from mmforget.metrics.membership import reference_score
from mmforget.metrics.mia_auc import auc_estimate
from mmforget.types import Estimate, Sample


@dataclass(frozen=True)
class MiaAucReference:
    """AUC of mean token log-prob less the retain model's, members = forget set, non-members = holdout, in [0, 1].

    Read like `mia_auc`; of the retain model itself it is .5.

    Source: the attack with a reference model of OpenUnlearning (arXiv 2506.12618).

    Profiles:
        clean: as above, what rounding alone tells apart being a tie. Mends ties that rounding breaks.
        openunlearning: Reference, with ties of equal floats only.
    """

    name = "mia_auc_reference"
    kind: ClassVar[Kind] = "prob"
    other: ClassVar[Other] = "holdout"
    profiles = {"clean": "mmforget", "openunlearning": OPENUNLEARNING}
    range = RATE
    higher_is_better = None
    reads_reference = True

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        """AUC with its 95 % interval by subjects of both groups; samples hold the role `reference/answer`."""
        check_profile(self, profile)
        return auc_estimate(self, samples, other, score=reference_score, as_coded=profile in NAMED_PROFILES)


METRIC = MiaAucReference()
