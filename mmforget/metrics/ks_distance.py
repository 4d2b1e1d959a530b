"""Distance between the truth ratios of the unlearned and of the retain model: the KS statistic, with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import OPENUNLEARNING, RATE, TOFU_CODE, Kind, Other, check_profile
from mmforget.metrics.ks_forget_quality import ks_estimate
from mmforget.metrics.two_sample import ks_distance_interval
from mmforget.types import Estimate, Sample


@dataclass(frozen=True)
class KSDistance:
    """D = largest gap between the two empirical distributions of r on the forget set, in [0, 1]; 0 = as retain model.

    Unlike the p-value it does not shrink with the number of questions. Chance alone makes D larger than the
    true one, the more the fewer subjects there are: the interval, by subject and paired between models, allows for it.

    Source: FIUBench (arXiv 2411.03554), whose code prints D beside p; `scipy.stats.ks_2samp`.

    Profiles:
        released: r from losses divided by T + 1.
        clean: r from losses divided by T, NaN left out and counted. Mends the denominator and the crash.
        tofu_paper: 1/r of losses divided by T as floats; what rounding alone tells apart is no tie (TOFU, arXiv
            2401.06121).
        openunlearning: the same with 1e-10 added to the rephrased answer's probability (arXiv 2506.12618).
    """

    name = "ks_distance"
    kind: ClassVar[Kind] = "prob"
    other: ClassVar[Other] = "retain_model"
    profiles = {
        "released": "FIUBench (arXiv 2411.03554), official code",
        "clean": "mmforget",
        "tofu_paper": TOFU_CODE,
        "openunlearning": OPENUNLEARNING,
    }
    range = RATE
    higher_is_better = False

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        """D against the retain model with its 95 % interval by subject."""
        check_profile(self, profile)
        return ks_estimate(
            self, samples, other, profile=profile, value=lambda found: found.distance, interval=ks_distance_interval
        )


METRIC = KSDistance()
