"""Membership inference by relative conditional likelihood: what is known is moved more by what nobody has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from mmforget.errors import UserError
from mmforget.metrics.base import RATE, Kind, Other, check_profile
from mmforget.metrics.membership import recall_score
from mmforget.metrics.mia_auc import auc_estimate
from mmforget.types import Estimate, Sample


@dataclass(frozen=True)
class MiaAucRecall:
    """AUC of LL(x | P) / LL(x), members = forget set, non-members = holdout, in [0, 1]; .5 = cannot tell.

    LL is the mean token log-prob of the true answer behind its question, P the first rows of the holdout set in front
    of it, questions and answers. These rows are no non-members any more. Every answer is scored once more; unscored in
    a chat template, beside pictures, and where there is no room. Read like `mia_auc`.

    Args:
        shots: how many rows P has, at least 1.

    Source: Xie et al., "ReCaLL", arXiv 2406.15968, with a question in front of each text.

    Profiles:
        clean: as above. Mends attacks that take an answer which is likely for everybody for a member.
    """

    shots: int = 4

    name = "mia_auc_recall"
    kind: ClassVar[Kind] = "prob"
    other: ClassVar[Other] = "holdout"
    profiles = {"clean": "Xie et al. (arXiv 2406.15968)"}
    range = RATE
    higher_is_better = None

    def __post_init__(self) -> None:
        if self.shots < 1:
            raise UserError(f"shots is {self.shots}; give a whole number of at least 1")

    @property
    def reads_prefix(self) -> int:
        """How many rows of the holdout set stand in front of a question."""
        return self.shots

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        """AUC with its 95 % interval by subjects of both groups."""
        check_profile(self, profile)
        return auc_estimate(self, samples, other[self.shots :], score=partial(recall_score, shots=self.shots))


METRIC = MiaAucRecall()
