"""What keeps the retain answers beside a loss that forgets: their NLL, or their distributions where they were."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from mmforget.methods.base import Divergence, Request, Scores, Step
from mmforget.methods.losses import token_mean, token_mean_nll

Retain = Literal["nll", "kl", "kl_all"]
"""`nll`: of the answers. `kl`: KL(before || now), averaged over the places that predict the answers' tokens. `kl_all`:
over every place, image and question, too, as OpenUnlearning's code averages it, which counts padding besides."""

SCORES = Scores("retain")


def retain_requests(kind: Retain, *, weight: float) -> tuple[Request, ...]:
    """What `retain_terms` reads: one request, or none where the term has no weight."""
    if not weight:
        return ()
    return (SCORES if kind == "nll" else _divergence(kind),)


def retain_terms(step: Step, kind: Retain, *, weight: float) -> dict[str, Tensor]:
    """`retain` or `retain_kl`, a weighted scalar >= 0 in nats a token; nothing where it has no weight."""
    if not weight:
        return {}
    if kind == "nll":
        return {"retain": weight * token_mean_nll(step[SCORES])}
    drift = step[_divergence(kind)]
    return {"retain_kl": weight * token_mean(drift.token_kl, drift.mask)}


def _divergence(kind: Retain) -> Divergence:
    return Divergence("retain", "all" if kind == "kl_all" else "answer")
