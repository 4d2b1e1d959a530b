"""SCRUB: away from the model before training on what is to be forgotten, towards it on what is kept, by turns.

Source: Kurmanji et al. 2023, "Towards Unbounded Machine Unlearning", https://arxiv.org/abs/2302.09880, a method for
classifiers; on language models it is an adaptation, with a divergence at each of the answer's tokens. Weights 1 and
0.5, temperature 2 and three passes that forget are those of its small experiments (0.99, 0.01, 4 and two of its larger
ones). There every epoch that forgets is followed by one that keeps; so it is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from mmforget.methods.arguments import require_not_negative, require_positive
from mmforget.methods.base import USUAL, Beginning, Comparison, Evidence, Grid, Request, Scores, Step
from mmforget.methods.losses import token_mean, token_mean_nll

FORGET, RETAIN = Scores("forget"), Scores("retain")
PER_EPOCH = "updates_per_epoch"


@dataclass(frozen=True)
class Tempered:
    """T^2 KL(softmax(z0 / T) || softmax(z / T)), z0 the logits before training and z those now: float32 [n]."""

    temperature: float

    def __call__(self, logprobs: Tensor, target: Tensor, before: Tensor) -> Tensor:
        new, old = (functional.log_softmax(one / self.temperature, -1) for one in (logprobs, before))
        by_word = functional.kl_div(new, old, reduction="none", log_target=True)
        return self.temperature**2 * by_word.sum(-1)


@dataclass(frozen=True)
class Scrub:
    """Minimises by turns -KL_T(before || now) on forget and nll_weight NLL + kl_weight KL_T(before || now) on retain.

    KL_T is that of `temperature` T, times T squared, averaged over the answers' tokens. The first epoch forgets, the
    second keeps, and so on until `forget_passes` have forgotten; all others keep. A training that shall do all of it
    has at least twice as many epochs. In the first one the divergence begins at 0, where its gradient is rounding. It
    has no upper bound: what the number of passes does not stop, a rule (`--stop`) can.
    """

    evidence: ClassVar[Evidence] = "adaptation"
    paper: ClassVar[str] = "https://arxiv.org/abs/2302.09880"
    grid: ClassVar[Grid] = {**USUAL, "temperature": (2.0, 4.0), "kl_weight": (0.01, 0.5), "forget_passes": (3, 10)}

    temperature: float = 2.0
    nll_weight: float = 1.0
    kl_weight: float = 0.5
    forget_passes: int = 3

    def __post_init__(self) -> None:
        require_positive(temperature=self.temperature, forget_passes=self.forget_passes)
        require_not_negative(nll_weight=self.nll_weight, kl_weight=self.kl_weight)

    @property
    def requests(self) -> tuple[Request, ...]:
        return (FORGET, self._drift("forget"), RETAIN, self._drift("retain"))

    def start(self, beginning: Beginning) -> dict[str, Tensor]:
        """How long a turn is: float32 scalar."""
        return {PER_EPOCH: torch.tensor(float(beginning.updates_per_epoch))}

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`forget` <= 0, `retain` and `retain_kl` >= 0, in nats a token; what is not due is 0."""
        forget, retain = (token_mean(step[self._drift(one.source)], step[one].mask) for one in (FORGET, RETAIN))
        terms = {
            "forget": -forget,
            "retain": self.nll_weight * token_mean_nll(step[RETAIN]),
            "retain_kl": self.kl_weight * retain,
        }
        forgets = self._forgets(step)
        return {name: one if (name == "forget") == forgets else torch.zeros_like(one) for name, one in terms.items()}

    def _forgets(self, step: Step) -> bool:
        turn = step.update // int(step.state[PER_EPOCH].item())
        return turn % 2 == 0 and turn // 2 < self.forget_passes

    def _drift(self, source: str) -> Comparison:
        return Comparison(source, Tempered(self.temperature))


METHOD = Scrub
