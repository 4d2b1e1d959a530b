"""FIUBench's published average of forget quality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mmforget.metrics.base import RATE, Component, check_profile
from mmforget.metrics.composite import combined
from mmforget.types import Estimate

# Not stated in the paper: solved back from its rows (26.14, 26.09, 25.8 for GD, KL, PO).
WORST_LOG10_P = -26.1


@dataclass(frozen=True)
class PaperAvgFQ:
    """.5 norm(log10 p) + .15 (1 - EM) + .2 (1 - MIA) + .15 (1 - APE) on the forget set, in [0, 1].

    norm(x) = clip(1 + x / 26.1, 0, 1), with 26.1 solved back from the published rows. It rewards a destroyed model,
    which answers nothing and so discloses nothing: it is here to compare with the paper, read it beside `degenerate`
    and `model_utility`.

    Source: FIUBench (arXiv 2411.03554), appendix D.3 as transcribed; reproduces the printed rows within .001.

    Profiles:
        paper: as above, from the released profile of its components.
    """

    name = "paper_avg_fq"
    profiles = {"paper": "FIUBench (arXiv 2411.03554)"}
    range = RATE
    higher_is_better = True
    components = (
        Component("ks", "ks_log10_p", "forget"),
        Component("keywords", "keyword_em", "forget"),
        Component("mia", "min_k", "forget"),
        Component("ape", "ape", "rephrase"),
    )

    def combine(self, parts: Mapping[str, Estimate], *, profile: str = "paper") -> Estimate:
        """The weighted sum; without a value where one of the four is missing."""
        check_profile(self, profile)
        return combined(self, parts, formula=_average)


def _average(values: Mapping[str, float]) -> float:
    near = min(1.0, max(0.0, 1.0 + values["ks"] / -WORST_LOG10_P))
    return 0.5 * near + 0.15 * (1 - values["keywords"]) + 0.2 * (1 - values["mia"]) + 0.15 * (1 - values["ape"])


METRIC = PaperAvgFQ()
