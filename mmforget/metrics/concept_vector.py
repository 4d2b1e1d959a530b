"""How alike the vectors of concepts in the weights are to the target model's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mmforget.metrics.base import Kind, Other, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.paired import paired
from mmforget.types import Estimate, Sample, Score

Floats = NDArray[np.float64]
VECTOR, TOP = "vector/", "top/"
"""What an attack keeps under `Sample.states`, with the number of the vector behind it."""


@dataclass(frozen=True)
class ConceptVector:
    """Likeness of a subject's concept vectors to the target model's; 1 = nothing was taken out of the weights there.

    Vectors are what the attack `concept_vectors` keeps; of a subject with several it is the mean.

    Source: ConceptVectors (arXiv 2406.11614), its intrinsic evaluation.

    Profiles:
        released: as the official code computes, of the vectors that its files name.

    Args:
        by: `jaccard`, of the tokens that the head reads a vector as most; or `cosine`, of the vectors themselves.
    """

    by: Literal["jaccard", "cosine"] = "jaccard"

    name = "concept_vector"
    kind: ClassVar[Kind] = "gen"
    other: ClassVar[Other] = "target"
    profiles = {"released": "ConceptVectors (arXiv 2406.11614), official code"}
    range = (-1.0, 1.0)
    higher_is_better = True

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "released") -> Estimate:
        """The mean over rows with its 95 % interval by subject."""
        check_profile(self, profile)
        return mean_estimate(self, self.pairs(samples, other, profile=profile))

    def pairs(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "released") -> list[Score]:
        """The score of every row."""
        return paired(samples, other, score=self._score)

    def _score(self, before: Sample, now: Sample) -> Score:
        reason = now.unanswered or before.unanswered or now.lacking
        if reason:
            return Score(None, now.subject, reason, lacking=not (now.unanswered or before.unanswered))
        part = TOP if self.by == "jaccard" else VECTOR
        names = [name for name in now.states if name.startswith(part)]
        if not names or any(name not in before.states for name in names):
            return Score(None, now.subject, "no concept vectors were kept")
        arrays = [[one.states[name].array().astype(np.float64) for name in names] for one in (before, now)]
        found = [(jaccard if self.by == "jaccard" else cosine)(*pair) for pair in zip(*arrays, strict=True)]
        known = [one for one in found if one is not None and math.isfinite(one)]
        if len(known) < len(found):
            return Score(None, now.subject, "a vector that is zero, no number, or of another width")
        return Score(math.fsum(known) / len(known), now.subject)


def jaccard(first: Floats, second: Floats) -> float | None:
    """Share of all numbers in two lists that are in both."""
    one, two = set(first.tolist()), set(second.tolist())
    is_whole = np.isfinite(first).all() and np.isfinite(second).all()
    return len(one & two) / len(one | two) if is_whole and one | two else None


def cosine(first: Floats, second: Floats) -> float | None:
    """None where one of them has no direction."""
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second)) if first.shape == second.shape else 0.0
    return max(-1.0, min(1.0, float(first @ second) / lengths)) if lengths > 0.0 else None


METRIC = ConceptVector()
