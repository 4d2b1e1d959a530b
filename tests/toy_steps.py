"""Steps made by hand: what a trainer would hand to a method's loss, by short names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmforget.methods.base import Divergence, Drift, Method, Reference, Request, Scores, Step
from mmforget.methods.contract import loss_of
from mmforget.types import Scored

SCORED = ("forget", "retain", "alternate", "benign", "written")


def step(**found: Any) -> Step:
    """A step of what is named: scores by source, `before` log-probs of forget answers, `retain_kl` at the places of
    `retain`, `drift` of written rows.
    """
    made: dict[Request, Any] = {Scores(name): found[name] for name in SCORED if name in found}
    if "before" in found:
        made[Reference("forget")] = found["before"]
    if "retain_kl" in found:
        made[Divergence("retain")] = Drift(found["retain_kl"], found["retain"].mask, 5)
    if "drift" in found:
        made[Divergence("written")] = found["drift"]
    return Step(made)


class Summed(NamedTuple):
    """The sum of a method's terms, and each as a plain number."""

    total: Tensor
    terms: Mapping[str, float]


def loss(method: Method, made: Step) -> Summed:
    found = loss_of(method, made)
    return Summed(found.total, {name: one.item() for name, one in found.terms.items()})


def scored(*rows: list[float]) -> Scored:
    """Answers of the given token log-probs, padded with 0."""
    width = max(map(len, rows))
    padded: Tensor = torch.tensor([row + [0.0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[k < len(row) for k in range(width)] for row in rows])
    return Scored(padded, mask, torch.zeros(len(rows), dtype=torch.bool))
