"""Direct preference optimisation: a false answer of the same kind is preferred to the one to forget.

Source: Rafailov et al. 2023, "Direct Preference Optimization", https://arxiv.org/abs/2305.18290; for unlearning with
answers that a model made up in RWKU, https://arxiv.org/abs/2406.10890, and in OpenUnlearning,
https://arxiv.org/abs/2506.12618, as AltPO. `idk_dpo` prefers refusals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmforget.methods.base import Evidence, Source
from mmforget.methods.error_injection import ErrorInjection
from mmforget.methods.material import Material
from mmforget.methods.preference import Preference

FALSE = "false"


@dataclass(frozen=True)
class DirectPreference(Preference):
    """Minimises -(2 / beta) mean log sigmoid(beta ((s_false - s0_false) - (s - s0))) + retain_weight x retain term.

    s is the log-prob of a whole answer, s0 that before training. False answers are those of `error_injection`: the
    first of a row's `alternatives`, or where a benchmark offers none the answer to another question, the same every
    time. `retain` as in `npo`. `variant=plain` leaves out 2 / beta.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2305.18290"

    preferred = FALSE

    @property
    def sources(self) -> tuple[Source, ...]:
        """The forget questions with a false answer."""
        return (Source(name=FALSE, draw="each", rows=ErrorInjection().build),)

    def lacks(self, material: Material) -> str:
        """Why these rows cannot be unlearned; empty where they can."""
        return ErrorInjection().lacks(material)


METHOD = DirectPreference
