"""Bounded unlearning: adapters of feed-forward layers add no more to a weight than a bound; joins with any loss.

Source: Garg et al. 2025, "Stable Forgetting", https://arxiv.org/abs/2509.24166, for `grad_diff+bounded`; a
reconstruction, since what the amplitude is divided by is not published: the root of the number of inputs is ours. The
rest is Sine-LoRA's, https://arxiv.org/abs/2403.19243.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mmforget.methods.arguments import require_positive
from mmforget.methods.base import Evidence, Grid


@dataclass(frozen=True)
class Bounded:
    """A feed-forward weight W [O, I] becomes W + s phi(omega B A) / g, element by element; attention is as always.

    A and B are the adapter's factors, B is 0 at first, s its scaling (alpha / r), phi `bound`, g `divisor`, or the root
    of I. So no element moves by more than s / g. It takes LoRA; in the end what is added lies in an ordinary adapter of
    full rank, as large as the weights themselves, which goes on any base, one in 4 bit included.
    """

    bound: Literal["sin", "tanh"] = "sin"
    omega: float = 100.0
    divisor: float | None = None

    evidence: ClassVar[Evidence] = "reconstruction"
    paper: ClassVar[str] = "https://arxiv.org/abs/2509.24166"
    grid: ClassVar[Grid] = {"omega": (10.0, 30.0, 100.0, 300.0)}

    def __post_init__(self) -> None:
        require_positive(omega=self.omega, divisor=1.0 if self.divisor is None else self.divisor)

    def learnt_change(self, product: Tensor, *, scaling: float) -> Tensor:
        """What is added to a weight, of the product of the adapter's factors: [O, I] both."""
        phi = torch.sin if self.bound == "sin" else torch.tanh
        divisor = math.sqrt(product.shape[1]) if self.divisor is None else self.divisor
        return scaling / divisor * phi(self.omega * product)


METHOD = Bounded
