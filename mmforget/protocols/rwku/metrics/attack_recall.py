"""What one kind of RWKU's attacks still gets out of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmforget.errors import UnknownName
from mmforget.metrics.base import RATE, RWKU_CODE, Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.rouge_l import RougeL
from mmforget.protocols.rwku.records import ATTACKS
from mmforget.types import Sample, Score

ANY = "any"


@dataclass(frozen=True)
class AttackRecall:
    """ROUGE-L recall on the adversarial probes of one kind, in [0, 1].

    Args:
        type: one of the nine kinds, as the files spell it, such as `incontext learning`; `any` takes all.

    Source: RWKU (arXiv 2406.10890), adversarial attacks (AA) by kind.

    Profiles:
        rwku_paper: recall as RWKU's code has it.
        clean: the clean recall. Mends what that mends.
    """

    type: str = ANY

    name = "attack_recall"
    kind: ClassVar[Kind] = "gen"
    profiles = {"rwku_paper": RWKU_CODE, "clean": "mmforget"}
    range = RATE
    higher_is_better = True
    aggregate = mean_estimate

    def __post_init__(self) -> None:
        if self.type not in (ANY, *ATTACKS):
            raise UnknownName("kind of attack", name=self.type, known=(ANY, *ATTACKS))

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """Recall of one probe; probes of other kinds take no part."""
        check_profile(self, profile)
        if self.type not in (ANY, sample.extra.get("type")):
            return Score(None, sample.subject, "another kind of attack", lacking=True)
        return RougeL().score(sample, profile=profile)


METRIC = AttackRecall()
