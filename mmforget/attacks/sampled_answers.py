"""The plain question, answered several times at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from mmforget.asking import Ask
from mmforget.attacks.rephrasing import SampledAttack


@dataclass(frozen=True)
class SampledAnswers(SampledAttack):
    """Answers drawn from the model: one that never says the answer first may say it one time in twenty.

    Its base rate grows with the budget: of a model that never knew, too, one of twenty guesses may be right.

    Args: those of `SampledAttack`; there is one wording, so `variant` changes nothing.
    """

    modality: ClassVar[Literal["any"]] = "any"
    label: ClassVar[str] = "sampled answers"
    cost: ClassVar[str] = "as many sampled answers as the budget, behind one prompt"

    def asks(self, ask: Ask) -> list[Ask]:
        return self.sampled([ask])


ATTACK = SampledAnswers
