"""The forget-retain gap of a metric: what is kept minus what is forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mmforget.metrics.base import Component, check_profile
from mmforget.metrics.composite import combined
from mmforget.types import Estimate


@dataclass(frozen=True)
class Gap:
    """A metric on the utility set minus that on the forget set, in [-1, 1].

    Source: MedForget (arXiv 2512.09867), difference of a score between retain and forget.

    Profiles:
        released: of the released profile.
        clean: of the clean one. Mends what that mends.
    """

    name: str
    components: tuple[Component, Component]

    profiles = {"released": "MedForget (arXiv 2512.09867), official code", "clean": "mmforget"}
    range = (-1.0, 1.0)
    higher_is_better = True

    @classmethod
    def of(cls, metric: str, *, name: str) -> Gap:
        return cls(name, (Component("retain", metric, "utility"), Component("forget", metric, "forget")))

    def combine(self, parts: Mapping[str, Estimate], *, profile: str = "clean") -> Estimate:
        """The difference; without a value where either is missing."""
        check_profile(self, profile)
        return combined(self, parts, formula=_difference)


def _difference(values: Mapping[str, float]) -> float:
    return values["retain"] - values["forget"]
