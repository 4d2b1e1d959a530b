"""DP2Unlearning: a base that learnt everything with differential privacy goes on learning the rows to keep, raw.

Source: Al Mahmud et al. 2025, https://arxiv.org/abs/2504.13774, in its form with DP-SGD; the one that rewrites texts
(DP-MLM) is not here. The base is trained before anybody asks to forget, kept, and what every request starts from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mmforget.methods.arguments import require_below_one, require_positive
from mmforget.methods.base import Evidence, Grid, Request, Scores, Source, Step, Times
from mmforget.methods.bases import Accountant, Base, Privacy
from mmforget.methods.losses import token_mean_nll

RETAIN = Scores("retain")


@dataclass(frozen=True)
class DP2Unlearning:
    """Minimises NLL(retain), token-mean over the micro-batch, from a base of its own; epochs run over the rows to keep.

    The base learns the target's rows from what the target is trained from, by DP-SGD with Poisson sampling: it spends
    `epsilon` at `delta`, cuts the gradient of every row to the norm `clip`, and takes `base_batch_size` rows an update
    in the mean. `base_max_steps` stands in for `base_epochs`. What is not said is as in stage one's recipe. Defaults
    are those of the release, which publishes epsilon 0.5, 1, 10, 25 and 100; its request trains 3 to 5 epochs at 5e-5.

    What is protected is one row: an author with 20 rows is a group of 20, whose privacy is 20 epsilon.
    """

    epsilon: float = 1.0
    delta: float = 1e-12
    clip: float = 1.0
    accountant: Accountant = "prv"
    base_lr: float = 5e-5
    base_epochs: float = 10.0
    base_max_steps: int | None = None
    base_batch_size: int = 8
    base_optimizer: str = "sgd"

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2504.13774"
    grid: ClassVar[Grid] = {"base_lr": Times((10.0, 100.0, 1000.0)), "epsilon": (1.0, 10.0, 100.0)}

    def __post_init__(self) -> None:
        steps = 1 if self.base_max_steps is None else self.base_max_steps
        require_positive(
            epsilon=self.epsilon, delta=self.delta, clip=self.clip, base_lr=self.base_lr, base_epochs=self.base_epochs,
            base_batch_size=self.base_batch_size, base_max_steps=steps,
        )  # fmt: skip
        require_below_one(delta=self.delta)

    @property
    def besides(self) -> str:
        """What it costs beside its steps, for lists."""
        length = f"{self.base_epochs:g} epochs" if self.base_max_steps is None else f"{self.base_max_steps} updates"
        return f"its base learns all rows once for all requests, {length} with the gradient of each row alone"

    @property
    def base(self) -> Base:
        """What every request starts from."""
        training = {
            "lr": self.base_lr,
            "epochs": self.base_epochs,
            "max_steps": self.base_max_steps,
            "batch_size": self.base_batch_size,
            "optimizer": self.base_optimizer,
            "weight_decay": 0.01,
            "schedule": "constant",
            "warmup_ratio": 0.0,
        }
        privacy = Privacy(epsilon=self.epsilon, delta=self.delta, clip=self.clip, accountant=self.accountant)
        return Base(training=training, privacy=privacy)

    @property
    def requests(self) -> tuple[Request, ...]:
        return (RETAIN,)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The benchmark's rows to keep, all of them in every epoch."""
        return (Source(name="retain", draw="epoch"),)

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`retain` >= 0, in nats a token."""
        return {"retain": token_mean_nll(step[RETAIN])}


METHOD = DP2Unlearning
