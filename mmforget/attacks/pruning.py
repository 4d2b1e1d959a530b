"""Small weights are set to 0: what was laid over an answer may go, and the answer stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from mmforget.attacks.shares import require_rising
from mmforget.errors import PluginError
from mmforget.methods.arguments import require_below_one, require_positive

if TYPE_CHECKING:
    from torch import Tensor

    from mmforget.model.altering import Altered, Linear


@dataclass(frozen=True)
class Pruning:
    """The plain questions to the model with a share of the weights of every linear layer gone; each share an attempt.

    `wanda`: of each output's weights those go that are smallest times the norm of their input over rows to keep.
    `magnitude`: those go that are smallest in the layer. The head stays.

    Source: Wanda (arXiv 2306.11695), half of the weights by 128 samples. Model tampering (arXiv 2502.05209) prunes so;
    how much is not known, so the shares below a half are ours.

    Args:
        by: `wanda` or `magnitude`.
        shares: of the weights, above 0 and below 1, rising.
        rows: to keep, the first ones, whose tokens `wanda` looks at.
    """

    by: Literal["wanda", "magnitude"] = "wanda"
    shares: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5)
    rows: int = 128

    access: ClassVar[Literal["weights"]] = "weights"
    modality: ClassVar[Literal["any"]] = "any"
    label: ClassVar[str] = "pruning"
    kinds: ClassVar[tuple[str, ...]] = ("gen",)
    sets: ClassVar[Literal["forget"]] = "forget"
    cost: ClassVar[str] = "one answer more to every question for each share, and a pass of the rows to keep"

    def __post_init__(self) -> None:
        require_positive(rows=self.rows)
        require_rising("shares", self.shares)
        require_below_one(shares=self.shares[-1])

    @property
    def budget(self) -> int:
        return len(self.shares)

    @property
    def rows_seen(self) -> int:
        return self.rows if self.by == "wanda" else 0

    def alter(self, linear: Linear, *, attempt: int) -> Altered:
        from mmforget.model.altering import Altered

        weight = linear.module.weight.detach()
        sizes = weight.abs().float()
        if self.by == "wanda":
            if linear.inputs is None:
                raise PluginError("pruning by wanda was not told what goes into a layer")
            sizes = sizes * linear.inputs.to(sizes.device)
        groups = sizes if self.by == "wanda" else sizes.view(1, -1)
        gone = smallest(groups, share=self.shares[attempt]).view_as(weight)
        return Altered(weight=weight.masked_fill(gone, 0))


def smallest(sizes: Tensor, *, share: float) -> Tensor:
    """bool [G, N], which of the N sizes of each group are among its smallest floor(share * N); of equal ones the first.

    Args:
        sizes: [G, N].
    """
    import torch

    num = int(share * sizes.shape[1])
    order = sizes.argsort(dim=1, stable=True)[:, :num]
    return torch.zeros_like(sizes, dtype=torch.bool).scatter_(1, order, True)


ATTACK = Pruning
