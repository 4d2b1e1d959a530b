"""Unlearning one expert of a mixture of experts: the one that the rows to forget go through most; joins with any loss.

Source: Zhuang et al. 2025, "SEUF: Is Unlearning One Expert Enough for Mixture-of-Experts LLMs?",
https://arxiv.org/abs/2411.18797, called UOE before; a reconstruction, since the weight of the anchor is not published:
1 is ours. With `ga`, `grad_diff` and `npo` as there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mmforget.methods.arguments import require_not_negative
from mmforget.methods.base import Evidence, Grid


@dataclass(frozen=True)
class OneExpert:
    """Trains one routed expert and the router of its layer, and adds anchor_weight mean |p - e|^2.

    p are the router's probabilities for the tokens of the rows to forget, e is 1 for the expert and 0 for the others.
    The expert is that with the highest mean probability over these tokens, of all layers; shared experts are none. All
    other weights stay bit by bit, and nothing decays. It trains weights themselves, so without LoRA.
    """

    anchor_weight: float = 1.0

    evidence: ClassVar[Evidence] = "reconstruction"
    paper: ClassVar[str] = "https://arxiv.org/abs/2411.18797"
    grid: ClassVar[Grid] = {"anchor_weight": (0.1, 1.0, 3.0, 10.0)}

    def __post_init__(self) -> None:
        require_not_negative(anchor_weight=self.anchor_weight)

    def choose_expert(self, affinities: Tensor) -> tuple[int, int]:
        """Layer and expert, of mean probabilities [L, E]; what a layer lacks of experts is 0."""
        layer, expert = divmod(int(affinities.argmax()), affinities.shape[1])
        return layer, expert

    def anchor(self, probabilities: Tensor, *, expert: int) -> Tensor:
        """A term >= 0 of the loss, of the router's probabilities [n, E]."""
        target = torch.nn.functional.one_hot(torch.tensor(expert), probabilities.shape[1]).to(probabilities)
        return self.anchor_weight * (probabilities - target).square().sum(-1).mean()


METHOD = OneExpert
