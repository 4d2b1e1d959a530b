"""Model utility: harmonic mean of what the model still does on the set that should be kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mmforget.metrics.base import RATE, Component, check_profile
from mmforget.metrics.composite import combined, harmonic
from mmforget.types import Estimate

_REQUIRED = (
    Component("rouge", "rouge_l", "utility"),
    Component("probability", "probability_normalised", "utility"),
    Component("truth", "truth_ratio_retain", "utility"),
    Component("keywords", "keyword_em", "utility"),
)


@dataclass(frozen=True)
class ModelUtility:
    """Harmonic mean of ROUGE-L, normalised probability, truth ratio and keyword match on the retain set, in [0, 1].

    With a judge's score as a fifth where there is one. One component at 0 makes it 0, so a model that lost one ability
    cannot buy it back with others.

    Source: FIUBench (arXiv 2411.03554), official aggregation script, after TOFU (arXiv 2401.06121).

    Profiles:
        released: released components; all but the judge are required. The official script counts a judge that did not
            run as 0 and prints 0 for every model; here it is left out and named.
        clean: clean components, those that were not measured left out and named. Mends the zero for what nobody
            measured. A component that was measured and could not be scored (NaN) leaves no value at all.
    """

    name = "model_utility"
    profiles = {"released": "FIUBench (arXiv 2411.03554), official code", "clean": "mmforget"}
    range = RATE
    higher_is_better = True
    components = (*_REQUIRED, Component("judge", "judge", "utility", required=False))

    def combine(self, parts: Mapping[str, Estimate], *, profile: str = "clean") -> Estimate:
        """Harmonic mean of the components."""
        check_profile(self, profile)
        required = () if profile == "clean" else tuple(component.key for component in _REQUIRED)
        return combined(self, parts, formula=harmonic, required=required)


METRIC = ModelUtility()
