"""Learns to refuse the forget questions, with the retain answers in the same batch.

Source: Maini et al. 2024, TOFU, https://arxiv.org/abs/2401.06121, as preference optimisation ("idk"); in FIUBench,
https://arxiv.org/abs/2411.03554, as PO. Not DPO: there is no reference and no preference pair.
"""

from __future__ import annotations

from dataclasses import dataclass

from mmforget.methods.base import Need, Step
from mmforget.methods.losses import pooled_token_mean_nll, token_mean_nll
from mmforget.types import LossParts


@dataclass(frozen=True)
class PreferenceOptimisation:
    """Minimises one NLL over refusals and retain answers together, pooled over tokens, so long answers dominate."""

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({Need.ALTERNATE, Need.RETAIN})

    def loss(self, step: Step) -> LossParts:
        """Scalar >= 0, in nats a token; parts: `refusal` and `retain`, each one's share of the pooled mean."""
        refusal, retain = step.alternate, step.retain
        total = pooled_token_mean_nll((refusal.token_logprobs, refusal.mask), (retain.token_logprobs, retain.mask))
        num_refusal, num_retain = int(refusal.mask.sum()), int(retain.mask.sum())
        share = token_mean_nll(refusal.token_logprobs, refusal.mask).item() * num_refusal / (num_refusal + num_retain)
        return LossParts(total, {"refusal": share, "retain": total.item() - share})


METHOD = PreferenceOptimisation
