"""Learns to refuse the forget questions, with the retain answers in the same batch.

Source: Maini et al. 2024, TOFU, https://arxiv.org/abs/2401.06121, as preference optimisation ("idk"); in FIUBench,
https://arxiv.org/abs/2411.03554, as PO. Not DPO: there is no reference and no preference pair.
OFFSIDE, https://arxiv.org/abs/2510.22535, learns refusals and retain answers in turns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from mmforget.methods.alternation import is_turn_to_forget, start_of_turns
from mmforget.methods.base import Beginning, Evidence, Request, Scores, Step
from mmforget.methods.losses import token_mean_nll, token_sum_nll

ALTERNATE, RETAIN = Scores("alternate"), Scores("retain")


@dataclass(frozen=True)
class PreferenceOptimisation:
    """Minimises one NLL over refusals and retain answers together, pooled over tokens, so long answers dominate.

    `variant`: `joint` as above; `offside` (as OFFSIDE released it) takes turns: of the micro-batches the first, third,
    ... minimise the refusals' NLL, the others that of the retain answers, each token-mean; two an update
    (`grad_accumulation: 2`) are its published setting, and one refusal for all questions.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2401.06121"

    variant: Literal["joint", "offside"] = "joint"

    @property
    def requests(self) -> tuple[Request, ...]:
        return (ALTERNATE, RETAIN)

    def start(self, beginning: Beginning) -> dict[str, Tensor]:
        """Whose turn it is; nothing where both are in every micro-batch."""
        return start_of_turns() if self.variant == "offside" else {}

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`refusal` and `retain` >= 0, in nats a token: each one's share of the pooled mean; in turns one is 0."""
        if self.variant == "offside":
            nothing = step[RETAIN].token_logprobs.new_zeros(())
            if is_turn_to_forget(step):
                return {"refusal": token_mean_nll(step[ALTERNATE]), "retain": nothing}
            return {"refusal": nothing, "retain": token_mean_nll(step[RETAIN])}
        num_tokens = (step[ALTERNATE].mask.sum() + step[RETAIN].mask.sum()).clamp(min=1)
        return {
            "refusal": token_sum_nll(step[ALTERNATE]) / num_tokens,
            "retain": token_sum_nll(step[RETAIN]) / num_tokens,
        }


METHOD = PreferenceOptimisation
