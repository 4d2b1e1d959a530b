"""Task vector: what the model learns when it is fitted to the rows to forget is subtracted from it, alpha times.

Source: Ilharco et al. 2023, "Editing Models with Task Arithmetic", https://arxiv.org/abs/2212.04089; alpha is that of
MUSE's script, https://arxiv.org/abs/2407.06460, which fits and edits whole weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mmforget.methods.arguments import require_positive
from mmforget.methods.base import USUAL, Evidence, Grid, Request, Scores, Step
from mmforget.methods.losses import token_mean_nll

FORGET = Scores("forget")


@dataclass(frozen=True)
class TaskVector:
    """Minimises the NLL of the forget answers; the weights are then W - alpha (W_fitted - W).

    An adapter learns the fit and is multiplied by -alpha in the end. Until then, and in the training's log, the model
    knows the answers better than before.
    """

    evidence: ClassVar[Evidence] = "adaptation"
    paper: ClassVar[str] = "https://arxiv.org/abs/2212.04089"
    grid: ClassVar[Grid] = {**USUAL, "alpha": (1.0, 2.0, 5.0)}

    alpha: float = 5.0

    def __post_init__(self) -> None:
        require_positive(alpha=self.alpha)

    @property
    def requests(self) -> tuple[Request, ...]:
        return (FORGET,)

    @property
    def learnt_times(self) -> float:
        """What the adapter has learnt is multiplied by this."""
        return -self.alpha

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`fit` >= 0, in nats a token."""
        return {"fit": token_mean_nll(step[FORGET])}


METHOD = TaskVector
