"""Whether the same rows are neighbours in the representations of two models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmforget.errors import UserError
from mmforget.metrics.base import RATE, check_profile
from mmforget.metrics.estimate import with_interval
from mmforget.metrics.representations import BesideAnother, To, counted, nothing, pairs_of, require_share
from mmforget.statistics.jackknife import mean_replicates
from mmforget.statistics.representations import neighbour_overlap
from mmforget.types import Estimate, Sample


@dataclass(frozen=True)
class KnnOverlap(BesideAnother):
    """Share of a row's nearest rows by cosine that are its nearest in another model, too; 1 = the same neighbours.

    States are what the attack `representations` keeps. With n rows, states that have nothing to do with each other
    share k / (n - 1).

    Source: mutual k-nearest neighbours (arXiv 2405.07987); k and cosine are those of UUEF's k-NN, which classifies.

    Profiles:
        clean: mean over rows. Mends nothing: there is no other code.

    Args:
        to: the model to compare with.
        k: how many neighbours.
        depth: a share of the depth, 0.25, 0.5, 0.75 or 1; None: the mean over these.
    """

    to: To = "retain_model"
    k: int = 5
    depth: float | None = None

    name = "knn_overlap"
    profiles = {"clean": "mmforget"}
    range = RATE

    def __post_init__(self) -> None:
        require_share(self.depth)
        if self.k < 1:
            raise UserError(f"k={self.k} is not allowed; give at least 1 neighbour")

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        """The mean share with its 95 % interval by subject."""
        check_profile(self, profile)
        pairs = pairs_of(samples, other, depth=self.depth)
        num = len(pairs.subjects)
        if num <= self.k:
            why = f"{num} rows are too few for {self.k} neighbours" if num else "nothing to compare"
            return nothing(self, pairs, reason=why)
        found = [neighbour_overlap(own, theirs, num=self.k) for own, theirs in zip(pairs.own, pairs.other, strict=True)]
        shares = np.mean(found, axis=0)
        replicates = mean_replicates(shares.tolist(), pairs.subjects, bounds=RATE)
        is_constant = num > 1 and bool((shares == shares[0]).all())
        return with_interval(counted(self, pairs, value=replicates.value, constant=is_constant), replicates)


METRIC = KnnOverlap()
