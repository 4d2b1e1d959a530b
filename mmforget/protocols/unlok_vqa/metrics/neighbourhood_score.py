"""Neighbourhood score: how little an edit has moved the probability of answers to other questions about the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import RATE, Kind, Other, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.paired import paired
from mmforget.protocols.unlok_vqa.scores import moved, unmoved
from mmforget.types import Estimate, Sample, Score

DELETED = "perturbed/0"
"""Which candidate of a neighbouring question is the answer that was deleted, where `extra` does not say."""


@dataclass(frozen=True)
class NeighbourhoodScore:
    """1 - |p_now - p_before| / (|p_before - 0.5| + 0.5), in [0, 1], averaged over neighbouring questions.

    Source: UnLOK-VQA (arXiv 2505.01456), official code; after Hase et al., arXiv 2301.04213.

    Profiles:
        released: of the first neighbouring question alone, and of the answer that was deleted, which is no answer to
            it: hardly likely before or after, so near 1 whatever the edit does.
        clean: of all neighbouring questions, each of its own answer. Mends both.
    """

    name = "neighbourhood_score"
    kind: ClassVar[Kind] = "prob"
    other: ClassVar[Other] = "target"
    profiles = {"released": "UnLOK-VQA (arXiv 2505.01456), official code", "clean": "mmforget"}
    range = RATE
    higher_is_better = True

    def pairs(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> list[Score]:
        """The score of every row."""
        check_profile(self, profile)

        def score(before: Sample, now: Sample) -> Score:
            if profile == "clean":
                return moved(before, now, role="answer", formula=unmoved)
            if now.extra.get("number", 0) != 0:
                return Score(None, now.subject, "not the first neighbouring question", lacking=True)
            return moved(before, now, role=str(now.extra.get("deleted", DELETED)), formula=unmoved)

        return paired(samples, other, score=score)

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        """Mean over rows with its 95 % interval by instance; `other` are the samples of the model before the edit."""
        return mean_estimate(self, self.pairs(samples, other, profile=profile))


METRIC = NeighbourhoodScore()
