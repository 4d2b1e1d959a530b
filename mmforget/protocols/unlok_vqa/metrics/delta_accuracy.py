"""Delta accuracy: how many right answers an edit has cost, before minus after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import Kind, Other, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.paired import paired
from mmforget.metrics.responses import normalised, stands_free
from mmforget.types import Estimate, Sample, Score


@dataclass(frozen=True)
class DeltaAccuracy:
    """Share of right answers before the edit minus after it, in [-1, 1]; above 0 is damage.

    Source: UnLOK-VQA (arXiv 2505.01456), official code: on random questions, on neighbouring questions and on
    neighbouring pictures. Of these it scores twenty sampled answers, where here there is one, the likeliest.

    Profiles:
        released: right is an answer that holds the label anywhere, in whatever case; the label of a neighbouring
            question is the first word of its answer.
        clean: the whole label stands free of letters and digits on both sides. Mends `Sub` found in `Submarine` and
            answers that begin alike.
    """

    name = "delta_accuracy"
    kind: ClassVar[Kind] = "gen"
    other: ClassVar[Other] = "target"
    profiles = {"released": "UnLOK-VQA (arXiv 2505.01456), official code", "clean": "mmforget"}
    range = (-1.0, 1.0)
    higher_is_better = False

    def pairs(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> list[Score]:
        """Of every row 1 where an edit has made a right answer wrong, -1 where a wrong one right, else 0."""
        check_profile(self, profile)

        def score(before: Sample, now: Sample) -> Score:
            if before.response is None or now.response is None:
                return Score(None, now.subject, "no response")
            was, is_right = (_is_right(one.response or "", row=now, profile=profile) for one in (before, now))
            return Score(float(was) - float(is_right), now.subject)

        return paired(samples, other, score=score)

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        """Mean over rows with its 95 % interval by instance; `other` are the samples of the model before the edit."""
        return mean_estimate(self, self.pairs(samples, other, profile=profile))


def _is_right(response: str, *, row: Sample, profile: str) -> bool:
    if profile == "released":
        return str(row.extra.get("released_label", row.answer)).lower() in response.lower()
    return stands_free(normalised(row.answer), normalised(response))


METRIC = DeltaAccuracy()
