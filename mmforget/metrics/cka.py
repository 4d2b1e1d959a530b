"""Whether representations are those of another model: linear centred kernel alignment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmforget.metrics.base import check_profile
from mmforget.metrics.estimate import with_interval
from mmforget.metrics.representations import (
    BesideAnother,
    Floats,
    To,
    counted,
    is_constant,
    nothing,
    pairs_of,
    require_share,
)
from mmforget.statistics.representations import MIN_ROWS, Places, gram, linear_cka, without_each
from mmforget.types import Estimate, Sample

BATCH = 512


@dataclass(frozen=True)
class CKA(BesideAnother):
    """Linear CKA of the hidden states of two models on the same rows; 1 = the same but for rotation and scale.

    States are what the attack `representations` keeps. A model that is nearer to the target than to the retain model
    has kept what it should have lost: read this against both, beside what target and retain model have.

    Source: Kornblith et al. (arXiv 1905.00414); against original and retrained model as UUEF does
    ("Are we truly forgetting").

    Profiles:
        released: HSIC of centred Gram matrices, in batches of 512 rows that are averaged, as a share and not times 100.
        clean: the unbiased estimator of HSIC on all rows at once; may be below 0. Mends values near 1 wherever there
            are fewer rows than dimensions.

    Args:
        to: the model to compare with.
        depth: a share of the depth, 0.25, 0.5, 0.75 or 1; None: the mean over these.
    """

    to: To = "retain_model"
    depth: float | None = None

    name = "cka"
    profiles = {"released": "UUEF, official code", "clean": "mmforget"}
    range = (-1.0, 1.0)

    def __post_init__(self) -> None:
        require_share(self.depth)

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        """The alignment with its 95 % interval by subject, each left out once."""
        check_profile(self, profile)
        pairs = pairs_of(samples, other, depth=self.depth)
        grams = [(gram(own), gram(theirs)) for own, theirs in zip(pairs.own, pairs.other, strict=True)]

        def alignment(places: Places) -> float | None:
            found = [_aligned(*pair, places=places, profile=profile) for pair in grams]
            known = [one for one in found if one is not None]
            return sum(known) / len(known) if known and len(known) == len(found) else None

        if not pairs.subjects:
            return nothing(self, pairs, reason="nothing to compare")
        replicates = without_each(alignment, pairs.subjects)
        constant = is_constant(pairs)
        if replicates is None:
            few = f"{len(pairs.subjects)} rows are too few; at least {MIN_ROWS} are needed"
            why = few if len(pairs.subjects) < MIN_ROWS else "all rows have the same states"
            return nothing(self, pairs, reason=why, constant=constant)
        return with_interval(counted(self, pairs, value=replicates.value, constant=constant), replicates)


def _aligned(own: Floats, other: Floats, *, places: Places, profile: str) -> float | None:
    """Of the rows at these places, as the profile has it."""
    if profile == "clean":
        return linear_cka(own[np.ix_(places, places)], other[np.ix_(places, places)], debiased=True)
    parts = [places[start : start + BATCH] for start in range(0, len(places), BATCH)]
    found = [linear_cka(own[np.ix_(part, part)], other[np.ix_(part, part)], debiased=False) for part in parts]
    known = [one for one in found if one is not None]
    return sum(known) / len(known) if known else None


METRIC = CKA()
