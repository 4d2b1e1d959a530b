"""The answer is looked for at several layers, each read by the model's own head: the logit lens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mmforget.attacks.lens import LensAttack, counted, probabilities

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LogitLens(LensAttack):
    """One list of candidates a layer: the tokens by their probability there.

    Source: "HP" (head projection) of UnLOK-VQA (arXiv 2505.01456), released code: the 4 likeliest tokens of 5 layers.

    Args: those of `LensAttack`.
    """

    name: ClassVar[str] = "logit_lens"
    published: ClassVar[dict[int, tuple[int, ...]]] = {32: (25, 29, 30, 31, 32), 40: (36, 37, 38, 39, 40)}
    label: ClassVar[str] = "logit lens"

    def ranks(self, logits: Tensor, token: int) -> tuple[int, ...]:
        """By layer, how many tokens are likelier."""
        # Logits and probabilities are in one order, and logits do not underflow.
        values = logits if self.variant == "clean" else probabilities(logits, variant=self.variant)
        return counted(values, token, variant=self.variant)


ATTACK = LogitLens
