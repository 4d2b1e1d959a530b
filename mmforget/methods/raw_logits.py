"""Preference losses of MUSE's code: taken of every raw logit, not of the log-probs of the tokens that came.

Source: Shi et al. 2024, MUSE, https://arxiv.org/abs/2407.06460, official code; Fan et al. 2024, SimNPO,
https://arxiv.org/abs/2410.07163, whose code for MUSE does the same without a reference. Neither shifts logits against
tokens nor masks anything: prompt, image and the whole vocabulary count. Padding counts there, too, and so does the last
place of a sequence, which predicts none of its tokens; both are left out here.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from mmforget.methods.base import LogitStats, Request, Scores, Step
from mmforget.methods.losses import token_mean

EVERYWHERE = Scores("forget", "all")


@dataclass(frozen=True)
class AgainstBefore:
    """-(2 / beta) log sigmoid(beta (z0 - z)), averaged over the vocabulary: float32 [n] of logits z and z0 [n, V]."""

    beta: float

    def __call__(self, logits: Tensor, before: Tensor) -> Tensor:
        return -(2.0 / self.beta) * functional.logsigmoid(self.beta * (before - logits)).mean(-1)


@dataclass(frozen=True)
class Alone:
    """-(2 / beta) log sigmoid(-beta (z + delta)), averaged over the vocabulary: float32 [n] of logits z [n, V]."""

    beta: float
    delta: float

    def __call__(self, logits: Tensor) -> Tensor:
        return -(2.0 / self.beta) * functional.logsigmoid(-self.beta * (logits + self.delta)).mean(-1)


def at_every_logit(kind: AgainstBefore | Alone) -> LogitStats:
    """The loss of every place of the rows to forget."""
    return LogitStats("forget", kind, compared=isinstance(kind, AgainstBefore), positions="all")


def logit_requests(kind: AgainstBefore | Alone) -> tuple[Request, ...]:
    """What `logit_loss` reads."""
    return (EVERYWHERE, at_every_logit(kind))


def logit_loss(step: Step, kind: AgainstBefore | Alone) -> Tensor:
    """The mean over all places of the micro-batch: scalar >= 0."""
    return token_mean(step[at_every_logit(kind)], step[EVERYWHERE].mask)
