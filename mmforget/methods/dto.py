"""DTO, a reconstruction: tokens that need their context are forgotten, all others of the answer stay as they were.

Source: Lee et al. 2025, "Direct Token Optimization: A Self-contained Approach to Large Language Model Unlearning",
https://arxiv.org/abs/2510.00125. Known are the forget set alone, a delta score that parts an answer's tokens, a ratio
of a suffix, KL from the model before training on tokens that are no targets, and gradients made orthogonal. The score's
formula, the loss on targets and every number could not be read: all of these are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from mmforget import parallel
from mmforget.errors import UserError
from mmforget.methods.arguments import require_not_negative, require_positive
from mmforget.methods.base import (
    USUAL,
    Compute,
    Divergence,
    Evidence,
    Grid,
    Reference,
    Request,
    Scores,
    Source,
    Step,
    TokenStats,
)
from mmforget.methods.gradients import Vector, added, summed, taken
from mmforget.methods.losses import inverted_hinge, npo, token_mean
from mmforget.methods.material import Material
from mmforget.types import Example

OTHERS = "others"
FORGET, BEFORE, RUNNER_UP = Scores("forget"), Reference("forget"), TokenStats("forget", "runner_up")
DRIFT = Divergence(OTHERS)


@dataclass(frozen=True)
class DirectTokens:
    """Minimises L(targets) + kept_weight KL(before || now) on the other tokens of the forget answers.

    A token's delta is its log-prob before training less that given only the last `suffix` of what stands before it; the
    `share` of an answer's tokens with the largest are its targets, at least one. L is, averaged over targets, `npo`:
    (2 / beta) log(1 + (p / p_before)^beta) of each, or `ihl`: the inverted hinge. Where the gradients of both terms, of
    a whole update, point against each other, what L's has along the other's is taken out of it.
    """

    evidence: ClassVar[Evidence] = "reconstruction"
    paper: ClassVar[str] = "https://arxiv.org/abs/2510.00125"
    grid: ClassVar[Grid] = {**USUAL, "share": (0.2, 0.3, 0.5), "kept_weight": (0.5, 1.0, 2.0)}

    suffix: float = 0.5
    share: float = 0.3
    beta: float = 0.1
    kept_weight: float = 1.0
    forget: Literal["npo", "ihl"] = "npo"

    def __post_init__(self) -> None:
        require_positive(beta=self.beta)
        require_not_negative(kept_weight=self.kept_weight)
        for name, value in (("suffix", self.suffix), ("share", self.share)):
            if not 0 < value < 1:
                raise UserError(f"{name}={value} is not allowed; give a share above 0 and below 1")

    @property
    def requests(self) -> tuple[Request, ...]:
        asked: tuple[Request, ...] = (FORGET, BEFORE, self._short)
        asked = (*asked, RUNNER_UP) if self.forget == "ihl" else asked
        return (*asked, DRIFT) if self.kept_weight else asked

    @property
    def sources(self) -> tuple[Source, ...]:
        """The rows to forget once more, as what is kept of them."""
        return (Source(name=OTHERS, draw="each", rows=same_rows, is_kept=True),) if self.kept_weight else ()

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`forget` and `kept` >= 0."""
        scored, targets = step[FORGET], self.chosen(step)
        each = npo(scored.token_logprobs, reference=step[BEFORE], beta=self.beta)
        if self.forget == "ihl":
            each = inverted_hinge(scored.token_logprobs, runner_up=step[RUNNER_UP])
        terms = {"forget": token_mean(each, targets)}
        if self.kept_weight:
            drift = step[DRIFT]
            terms["kept"] = self.kept_weight * token_mean(drift.token_kl, drift.mask & ~targets)
        return terms

    def gradients(self, compute: Compute, *, weights: Vector) -> Tensor:
        """Those of both terms, the forget term's without what it has against the other's; see `base.Wrapper`."""
        if not self.kept_weight:
            return compute()
        loss = compute("keep")
        kept, whole = _own_and_whole(weights)
        compute("forget")
        forget, against = _own_and_whole(weights)
        added(weights, forget)
        added(weights, kept, times=1 - opposed(against, to=whole))
        return loss

    def chosen(self, step: Step) -> Tensor:
        """The tokens that count as targets: bool [B, T]."""
        return largest(step[BEFORE] - step[self._short], mask=step[FORGET].mask, share=self.share)

    @property
    def _short(self) -> Reference:
        return Reference("forget", suffix=self.suffix)


def largest(values: Tensor, *, mask: Tensor, share: float) -> Tensor:
    """The share of each answer's masked tokens with the largest values, rounded up, first of equals: bool [B, T]."""
    order = values.masked_fill(~mask, -torch.inf).sort(dim=-1, descending=True, stable=True).indices
    rank = order.argsort(dim=-1)
    num = (share * mask.sum(-1, keepdim=True)).round(decimals=6).ceil()
    return mask & (rank < num)


def opposed(one: Vector, *, to: Vector) -> float:
    """How much of another vector over all weights one has in it, where it points against that; else 0, never above."""
    along, length = (_number(vector, to) for vector in (one, to))
    return min(0.0, along / length) if length > 0 else 0.0


def _number(one: Vector, other: Vector) -> float:
    """The inner product of both."""
    found: Any = sum((one[name].double() * other[name].double()).sum() for name in one if name in other)
    return float(found.full_tensor() if hasattr(found, "full_tensor") else found)


def _own_and_whole(weights: Vector) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """This process's share of the gradients, and those of all processes; the weights have none afterwards."""
    if parallel.world_size() == 1:
        found = taken(weights)
        return found, found
    own = {name: weight.grad.clone() for name, weight in weights.items() if weight.grad is not None}
    return own, summed(weights)


def same_rows(material: Material) -> list[Example]:
    """The rows to forget."""
    return list(material.forget)


METHOD = DirectTokens
