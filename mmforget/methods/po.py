"""Learns to refuse the forget questions, with the retain answers in the same batch.

Source: Maini et al. 2024, TOFU, https://arxiv.org/abs/2401.06121, as preference optimisation ("idk"); in FIUBench,
https://arxiv.org/abs/2411.03554, as PO. Not DPO: there is no reference and no preference pair.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mmforget.methods.base import Request, Scores, Step
from mmforget.methods.losses import token_sum_nll

ALTERNATE, RETAIN = Scores("alternate"), Scores("retain")


@dataclass(frozen=True)
class PreferenceOptimisation:
    """Minimises one NLL over refusals and retain answers together, pooled over tokens, so long answers dominate."""

    @property
    def requests(self) -> tuple[Request, ...]:
        return (ALTERNATE, RETAIN)

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`refusal` and `retain` >= 0, in nats a token: each one's share of the pooled mean."""
        num_tokens = (step[ALTERNATE].mask.sum() + step[RETAIN].mask.sum()).clamp(min=1)
        return {
            "refusal": token_sum_nll(step[ALTERNATE]) / num_tokens,
            "retain": token_sum_nll(step[RETAIN]) / num_tokens,
        }


METHOD = PreferenceOptimisation
