"""What adapters begin with so that what is to be forgotten lies in them: Fisher-weighted initialisation of LoRA.

Source: Cha et al. 2024, https://arxiv.org/abs/2408.06621, FILA. A weighted low-rank approximation of each weight, whose
rows count by how much more the answers to forget ask of them than those to keep.
Shapes: a weight is [O, I], r the rank.
"""

from __future__ import annotations

import torch
from torch import Tensor

SMALL = 1e-5


def row_importance(forget: Tensor, *, retain: Tensor) -> Tensor:
    """The square root of the sum over each row of forget / (retain + 1e-5): float32 [O], >= 0.

    Args:
        forget: float32 [O, I], mean squared gradients of the answers to forget at each weight.
        retain: the same of those to keep.
    """
    return (forget / (retain + SMALL)).sum(dim=-1).sqrt()


def first_factors(weight: Tensor, *, importance: Tensor, rank: int, scaling: float) -> tuple[Tensor, Tensor]:
    """Factors [r, I] and [O, r] whose product times `scaling` is the part of a weight that matters most.

    With U S V' the largest r singular values of diag(importance) W and S' = S / scaling they are sqrt(S') V' and
    diag(1 / (importance + 1e-5)) U sqrt(S').
    """
    left, values, right = torch.linalg.svd(importance[:, None] * weight.float(), full_matrices=False)
    root = (values[:rank] / scaling).sqrt()
    return root[:, None] * right[:rank], left[:, :rank] * root / (importance[:, None] + SMALL)
