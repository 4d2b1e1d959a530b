"""Cross-entropy unlearning: the model is taught its own distribution with the true token taken out.

Source: Yang 2025, "CE-U: Cross Entropy Unlearning", https://arxiv.org/abs/2503.01224, and its code in OpenUnlearning,
https://arxiv.org/abs/2506.12618; the first token of each answer is left alone, as there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mmforget.methods.arguments import require_not_negative
from mmforget.methods.base import Evidence, Request, Scores, Step, TokenStats
from mmforget.methods.losses import but_first, token_mean

FORGET = Scores("forget")


def without_the_true_token(logprobs: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with the own distribution, constant, whose logit of the token that came is -inf: float32 [n]."""
    own = logprobs.detach().scatter(-1, target[:, None], -torch.inf)
    return -(own.softmax(-1) * logprobs).sum(-1)


OWN = TokenStats("forget", without_the_true_token)


@dataclass(frozen=True)
class CrossEntropyUnlearning:
    """Minimises CE(p without the true token, p), averaged over forget tokens but the first `skip_first` of each answer.

    An answer of no more tokens than that takes no part. There is no retain term; `ceu+retain_ft` adds one.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2503.01224"

    skip_first: int = 1

    def __post_init__(self) -> None:
        require_not_negative(skip_first=self.skip_first)

    @property
    def requests(self) -> tuple[Request, ...]:
        return (FORGET, OWN)

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`forget` >= 0, in nats a token."""
        return {"forget": token_mean(step[OWN], but_first(step[FORGET].mask, self.skip_first))}


METHOD = CrossEntropyUnlearning
