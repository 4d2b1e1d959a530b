"""Loss adjustment without retain rows: a divergence between answers that say nothing and those to forget is raised.

Source: Wang et al. 2024, "LLM Unlearning via Loss Adjustment with Only Forget Data", https://arxiv.org/abs/2410.11143,
and the eight divergences of its code, total variation its default; activations and conjugates are those of Nowozin et
al. 2016, https://arxiv.org/abs/1606.00709. The code averages a probability over prompt and padding, too, which count as
0; here the answer's tokens alone count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor
from torch.nn import functional

from mmforget.methods.base import USUAL, Evidence, Grid, Request, Scores, Step
from mmforget.methods.losses import token_probability
from mmforget.types import Scored

TEMPLATE, FORGET = Scores("alternate"), Scores("forget")
Kind = Literal[
    "total_variation", "kl", "reverse_kl", "jensen_shannon", "pearson", "neyman", "squared_hellinger", "jeffrey"
]
LOG_2 = math.log(2)


class Variational(NamedTuple):
    """An f-divergence by its variational form: scalars of an average probability v in [0, 1].

    Attributes:
        gain: g*(v), an activation onto the domain of f*.
        cost: f*(g*(v)), f* being the convex conjugate of f.
    """

    gain: Callable[[Tensor], Tensor]
    cost: Callable[[Tensor], Tensor]


def _same(v: Tensor) -> Tensor:
    return v


def _half_tanh(v: Tensor) -> Tensor:
    return v.tanh() / 2


def _below_one(v: Tensor) -> Tensor:
    return 1 - (-v).exp()


def _falling(v: Tensor) -> Tensor:
    return 1 - v.exp()


DIVERGENCES: Mapping[Kind, Variational] = {
    "total_variation": Variational(_half_tanh, _half_tanh),
    "kl": Variational(_same, lambda v: (v - 1).exp()),
    "reverse_kl": Variational(lambda v: -(-v).exp(), lambda v: v - 1),
    "jensen_shannon": Variational(
        lambda v: LOG_2 + functional.logsigmoid(v), lambda v: v + functional.softplus(-v) - LOG_2
    ),
    "pearson": Variational(_same, lambda v: v.square() / 4 + v),
    "neyman": Variational(_below_one, lambda v: 2 - 2 * (-v / 2).exp()),
    "squared_hellinger": Variational(_below_one, lambda v: v.exp() - 1),
    # f* has no closed form; its expansion at 0 to the third order, as in the code.
    "jeffrey": Variational(_same, lambda v: v + v.square() / 4 + v**3 / 16),
}
RELEASED: Mapping[Kind, Variational] = {
    "reverse_kl": Variational(lambda v: -v.exp(), lambda v: -1 - v),
    "neyman": Variational(_falling, lambda v: 2 - 2 * (1 - v).sqrt()),
    "squared_hellinger": Variational(_falling, lambda v: (-v).exp() - 1),
}
"""Those that the code has otherwise: activations fall where they have to rise, so that refusals are unlearned."""


@dataclass(frozen=True)
class LossAdjustment:
    """Minimises f*(g*(P(forget))) - g*(P(refusal)), where P is the mean over answers of the mean probability a token.

    `divergence` names f. Probabilities, not their logarithms: where they are small, so is the gradient. Refusals are
    drawn anew every epoch. There is no retain term; `flat+retain_ft` adds one.

    `variant`: `clean` has activations that rise, as the variational form needs them; `released` those of the code, of
    which `reverse_kl`, `neyman` and `squared_hellinger` fall, so that refusals are unlearned.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2410.11143"
    grid: ClassVar[Grid] = {**USUAL, "divergence": ("total_variation", "kl", "jensen_shannon", "pearson")}

    divergence: Kind = "total_variation"
    variant: Literal["clean", "released"] = "clean"

    @property
    def requests(self) -> tuple[Request, ...]:
        return (TEMPLATE, FORGET)

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`template`, minus g* of the refusals, and `forget`, f* of g* of the answers to forget."""
        released = RELEASED if self.variant == "released" else {}
        kind = released.get(self.divergence, DIVERGENCES[self.divergence])
        return {"template": -kind.gain(_mean(step[TEMPLATE])), "forget": kind.cost(_mean(step[FORGET]))}


def _mean(scored: Scored) -> Tensor:
    return token_probability(scored).mean()


METHOD = LossAdjustment
