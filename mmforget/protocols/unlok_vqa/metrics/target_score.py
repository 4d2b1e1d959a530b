"""Target score: the edit took, in any wording, and nothing beside it moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mmforget.metrics.base import RATE, Component, check_profile
from mmforget.metrics.composite import combined, harmonic
from mmforget.types import Estimate


@dataclass(frozen=True)
class TargetScore:
    """Harmonic mean of rewrite, paraphrase and neighbourhood score, in [0, 1]; one of them at 0 makes it 0.

    Source: UnLOK-VQA (arXiv 2505.01456), official code; after Meng et al., arXiv 2202.05262.

    Profiles:
        released: of the released scores. The neighbourhood score is near 1 there whatever the edit does.
        clean: of the clean ones, all of which have to be there. Mends what they mend.
    """

    name = "target_score"
    profiles = {"released": "UnLOK-VQA (arXiv 2505.01456), official code", "clean": "mmforget"}
    range = RATE
    higher_is_better = True
    components = (
        Component("rewrite", "rewrite_score", "forget"),
        Component("paraphrase", "paraphrase_score", "rephrase"),
        Component("neighbourhood", "neighbourhood_score", "neighbour"),
    )

    def combine(self, parts: Mapping[str, Estimate], *, profile: str = "clean") -> Estimate:
        """Harmonic mean of the components."""
        check_profile(self, profile)
        return combined(self, parts, formula=harmonic)


METRIC = TargetScore()
