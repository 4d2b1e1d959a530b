"""Membership inference by loss over how far the text itself can be compressed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import NAMED_PROFILES, OPENUNLEARNING, RATE, Kind, Other, check_profile
from mmforget.metrics.membership import zlib_score
from mmforget.metrics.mia_auc import auc_estimate
from mmforget.types import Estimate, Sample


@dataclass(frozen=True)
class MiaAucZlib:
    """AUC of mean token log-prob over the zlib length of the true answer, members = forget set, in [0, 1].

    The length is in bytes, of the answer's text. Read like `mia_auc`.

    Source: Carlini et al., arXiv 2012.07805; AUC on forget and holdout as in OpenUnlearning (arXiv 2506.12618).

    Profiles:
        clean: as above, what rounding alone tells apart being a tie. Mends ties that rounding breaks.
        openunlearning: ZLib, with ties of equal floats only.
    """

    name = "mia_auc_zlib"
    kind: ClassVar[Kind] = "prob"
    other: ClassVar[Other] = "holdout"
    profiles = {"clean": "Carlini et al. (arXiv 2012.07805)", "openunlearning": OPENUNLEARNING}
    range = RATE
    higher_is_better = None

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        """AUC with its 95 % interval by subjects of both groups."""
        check_profile(self, profile)
        return auc_estimate(self, samples, other, score=zlib_score, as_coded=profile in NAMED_PROFILES)


METRIC = MiaAucZlib()
