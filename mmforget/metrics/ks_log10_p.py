"""Base-10 logarithm of the forget-quality p-value, as tables print it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import OPENUNLEARNING, TOFU_CODE, Kind, Other, check_profile
from mmforget.metrics.ks_forget_quality import ks_estimate
from mmforget.statistics.kolmogorov_smirnov import LOG10_FLOOR
from mmforget.types import Estimate, Sample


@dataclass(frozen=True)
class KSLog10P:
    """log10 p of `ks_forget_quality`, at most 0, exact even where p itself underflows; 0 = like the retain model.

    Two models fully apart reach a floor that depends on the number of questions alone (-239 at 400, -480 at 800).

    Source: FIUBench (arXiv 2411.03554), column "KS". It does not state the base; base 10 fits D at n = 400.

    Profiles:
        released: r from losses divided by T + 1.
        clean: r from losses divided by T, NaN left out and counted. Mends the denominator and the crash.
        tofu_paper: as `ks_distance` has it (TOFU, arXiv 2401.06121).
        openunlearning: as `ks_distance` has it (arXiv 2506.12618).
    """

    name = "ks_log10_p"
    kind: ClassVar[Kind] = "prob"
    other: ClassVar[Other] = "retain_model"
    profiles = {
        "released": "FIUBench (arXiv 2411.03554), official code",
        "clean": "mmforget",
        "tofu_paper": TOFU_CODE,
        "openunlearning": OPENUNLEARNING,
    }
    range = (LOG10_FLOOR, 0.0)
    higher_is_better = True

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        """log10 p against the retain model, without an interval."""
        check_profile(self, profile)
        return ks_estimate(self, samples, other, profile=profile, value=lambda found: found.log10_p)


METRIC = KSLog10P()
