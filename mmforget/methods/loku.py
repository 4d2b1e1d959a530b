"""LoKU: the inverted hinge on adapters that begin as the part of each weight which the answers to forget need most.

Source: Cha et al. 2024, "Towards Robust and Parameter-Efficient Knowledge Unlearning for LLMs",
https://arxiv.org/abs/2408.06621: its loss (`ihl`) and its initialisation of adapters, FILA. The published settings are
an alpha of twice the rank, no dropout, 5 epochs and a learning rate of 1e-4 (Llama 2 7B) or 2e-4 (Phi 1.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mmforget.methods import fila
from mmforget.methods.base import Evidence
from mmforget.methods.ihl import InvertedHinge


@dataclass(frozen=True)
class LowRankKnowledgeUnlearning(InvertedHinge):
    """`ihl` with adapters B A that begin at the B0 A0 of FILA, so that W - B0 A0 stays and B A trains.

    W itself is not touched: what is taken away lies in the adapter, too, which is saved with twice the rank and goes on
    the same base as any other. Squared gradients are those of one answer each, weighed by its tokens, of all rows to
    forget and to keep; the paper's are of whole batches. It needs weights that have gradients, so none in 4 or 8 bit.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2408.06621"

    def first_factors(
        self, weight: Tensor, *, forget: Tensor, retain: Tensor, rank: int, scaling: float
    ) -> tuple[Tensor, Tensor]:
        """Factors [r, I] and [O, r] that the adapter of a weight [O, I] begins with; see `methods.base.Method`."""
        importance = fila.row_importance(forget, retain=retain)
        return fila.first_factors(weight, importance=importance, rank=rank, scaling=scaling)


METHOD = LowRankKnowledgeUnlearning
