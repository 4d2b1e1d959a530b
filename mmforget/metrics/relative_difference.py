"""How far a number lies from the retain model's, in percent of that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mmforget.errors import UserError
from mmforget.metrics.base import METRICS, OPENUNLEARNING, Kind, Other, SampleMetric, check_profile, profile_of
from mmforget.metrics.estimate import is_constant, no_estimate, reasons_of_both, with_interval
from mmforget.metrics.logprobs import EPSILON
from mmforget.statistics.jackknife import derived, mean_replicates
from mmforget.types import Estimate, Sample, Score

MOST = 1e13
ENDLESS = (-math.inf, math.inf)


@dataclass(frozen=True)
class RelativeDifference:
    """(x - x of the retain model) / x of the retain model, in percent; 0 = as the retain model.

    x is the mean of another metric's scores over the set, in the same profile where it has that.

    Args:
        of: the metric, one that scores samples.

    Source: OpenUnlearning (arXiv 2506.12618), `rel_diff`.

    Profiles:
        openunlearning: 1e-10 is added to the denominator.
        clean: nothing is added; no value where the retain model's alone is 0. Mends differences of billions of percent.
    """

    of: str = "probability"

    name = "relative_difference"
    other: ClassVar[Other] = "retain_model"
    profiles = {"openunlearning": OPENUNLEARNING, "clean": "mmforget"}
    range = (-MOST, MOST)
    higher_is_better = None

    def __post_init__(self) -> None:
        if self.of == self.name:
            raise UserError(f"of is {self.of}; name a metric that scores samples, such as probability")

    @property
    def kind(self) -> Kind:
        """The kind of sample that the other metric reads."""
        return self._metric.kind

    @property
    def _metric(self) -> SampleMetric:
        found = METRICS.get(self.of)
        if not isinstance(found, SampleMetric):
            raise UserError(f"relative_difference: of is {self.of}, which scores no samples; name one that does")
        return found

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        """The difference with its 95 % interval by subject, subjects of one name being paired."""
        check_profile(self, profile)
        scores, others = (self._scores(group, profile=profile) for group in (samples, other))
        reasons = reasons_of_both(scores, others, called="retain model")
        missing = [score for score in (*scores, *others) if score.value is None]
        num_lacking = sum(score.lacking for score in missing)
        counts = {"num_unscored": len(missing) - num_lacking, "num_lacking": num_lacking}
        kept = {name: _scored(group) for name, group in (("own", scores), ("retain", others))}
        if not all(kept.values()):
            return no_estimate(self, reasons=(*reasons, "nothing to compare"), **counts)
        added = EPSILON if profile == "openunlearning" else 0.0
        parts = {}
        for name, group in kept.items():
            values, subjects = zip(*group, strict=True)
            parts[name] = mean_replicates(values, subjects, bounds=ENDLESS)
        found = derived(lambda means: _relative(means, added=added), parts)
        if not added and parts["retain"].value == 0.0 and parts["own"].value != 0.0:
            return no_estimate(
                self, reasons=(*reasons, "the retain model's value is 0, of which nothing is a share"), **counts
            )
        estimate = Estimate(
            value=max(-MOST, min(MOST, found.value)),
            num_scored=len(kept["own"]),
            range=self.range,
            constant=is_constant([value for value, _ in kept["own"]]),
            reasons=reasons,
            num_unscored=counts["num_unscored"],
            num_lacking=counts["num_lacking"],
        )
        return with_interval(estimate, found, bounds=ENDLESS)

    def _scores(self, samples: Sequence[Sample], *, profile: str) -> list[Score]:
        metric = self._metric
        own = profile_of(metric, profile)
        return [metric.score(sample, profile=own) for sample in samples]


def _scored(scores: Sequence[Score]) -> list[tuple[float, str]]:
    return [(score.value, score.subject) for score in scores if score.value is not None]


def _relative(means: Mapping[str, float], *, added: float) -> float:
    below = means["retain"] + added
    below = below if abs(below) > EPSILON / 2 else EPSILON
    return (means["own"] - means["retain"]) / below * 100.0


METRIC = RelativeDifference()
