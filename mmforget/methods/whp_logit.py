"""Who's Harry Potter on logits: tokens that a model fitted to the rows to forget holds for likelier are held down.

Source: Eldan and Russinovich 2023, "Who's Harry Potter?", https://arxiv.org/abs/2310.02238, whose labels are made so;
as a guard, with two models and alpha 1, in MUSE, https://arxiv.org/abs/2407.06460. No anchored terms, no distillation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mmforget.asking import Engine, PassingEngine
from mmforget.methods.arguments import require_positive
from mmforget.methods.base import USUAL, Evidence, Grid, Request, Scores, Step
from mmforget.methods.losses import token_mean_nll

FORGET = Scores("forget")


@dataclass(frozen=True)
class LogitRule:
    """Every next token is chosen and scored by v - alpha ReLU(v_fitted - v), where v are the model's own logits.

    The fitted model is an adapter that has learnt the forget answers by their NLL, as the training settings say; it
    lies in the guard's folder. The base stays as it is, and whoever leaves the guard out has it back.
    """

    evidence: ClassVar[Evidence] = "adaptation"
    paper: ClassVar[str] = "https://arxiv.org/abs/2310.02238"
    grid: ClassVar[Grid] = {**USUAL, "alpha": (0.5, 1.0, 2.0, 5.0)}

    alpha: float = 1.0

    def __post_init__(self) -> None:
        require_positive(alpha=self.alpha)

    @property
    def requests(self) -> tuple[Request, ...]:
        return (FORGET,)

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`fit` >= 0, in nats a token."""
        return {"fit": token_mean_nll(step[FORGET])}

    def mix(self, before: Tensor, fitted: Tensor) -> Tensor:
        """The logits that count, [n, V], from those without and with the adapter."""
        return before - self.alpha * (fitted - before).relu()

    def guard(self, engine: Engine) -> Engine:
        """Passes on scores and texts, which the engine makes of mixed logits; states and lenses are not shown."""
        return PassingEngine(engine)


METHOD = LogitRule
