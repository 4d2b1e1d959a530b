"""Paraphrase score: the rewrite score where the question is asked in other words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from mmforget.metrics.base import RATE, Kind, Other, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.paired import paired
from mmforget.protocols.unlok_vqa.scores import rewritten
from mmforget.types import Estimate, Sample, Score


@dataclass(frozen=True)
class ParaphraseScore:
    """`rewrite_score` of rephrased questions, in [0, 1].

    Source: UnLOK-VQA (arXiv 2505.01456), official code; after Meng et al., arXiv 2202.05262.

    Args:
        answer: as of `rewrite_score`.

    Profiles:
        released: of the first paraphrase of each instance alone.
        clean: of all of them. Mends a score that rests on one wording.
    """

    answer: Literal["true", "false", "empty"] = "true"

    name = "paraphrase_score"
    kind: ClassVar[Kind] = "prob"
    other: ClassVar[Other] = "target"
    profiles = {"released": "UnLOK-VQA (arXiv 2505.01456), official code", "clean": "mmforget"}
    range = RATE
    higher_is_better = True

    def pairs(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> list[Score]:
        """The score of every row."""
        check_profile(self, profile)

        def score(before: Sample, now: Sample) -> Score:
            if profile == "released" and now.extra.get("number", 0) != 0:
                return Score(None, now.subject, "not the first paraphrase", lacking=True)
            return rewritten(before, now, answer=self.answer, profile=profile)

        return paired(samples, other, score=score)

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        """Mean over rows with its 95 % interval by instance; `other` are the samples of the model before the edit."""
        return mean_estimate(self, self.pairs(samples, other, profile=profile))


METRIC = ParaphraseScore()
