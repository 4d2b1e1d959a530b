"""A path between two models that is bent to where it loses least: a quadratic Bezier curve through a learned point.

With the middle of both ends plus D in place of its control point the curve is the straight path plus 2 t (1 - t) D, so
that D alone is learned and held. D is a LoRA adapter: no second set of whole weights is in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmforget.model.encode import Encoded
from mmforget.model.line import Line
from mmforget.model.loaded import ADAPTER, LoadedModel
from mmforget.model.lora import LoraSettings, attach, detach
from mmforget.model.scoring import score
from mmforget.training import draws
from mmforget.types import Progress

Go = Callable[[float], LoadedModel]
"""The model at a place of a path."""


@dataclass(frozen=True, kw_only=True)
class Bending:
    """How the control point is learned. The paper's own training is not published: a reconstruction.

    Attributes:
        updates, lr, batch_size: of AdamW, each update at a place drawn evenly from 0 to 1.
        r: rank of D.
        forget_weight: of the loss on rows to forget, which is subtracted; the paper leaves open whether it is.
        seed: of places, rows and the adapter.
    """

    updates: int = 64
    lr: float = 1e-3
    batch_size: int = 8
    r: int = 16
    forget_weight: float = 0.0
    seed: int = 0


@contextmanager
def bent(
    line: Line, *, retain: Sequence[Encoded], forget: Sequence[Encoded], settings: Bending, progress: Progress
) -> Iterator[Go]:
    """Inside, what goes to a place of the bent path; afterwards the line's model carries no adapter again."""
    line.go(0.5)
    draws.seed_update(settings.seed, update=0, micro_batch=0)
    prepared = attach(line.loaded, LoraSettings(r=settings.r, alpha=settings.r))

    def go(place: float) -> LoadedModel:
        line.go(place)
        _scale(prepared, 2.0 * place * (1.0 - place))
        return prepared

    try:
        _learn(prepared, go, retain=retain, forget=forget, settings=settings, progress=progress)
        prepared.model.requires_grad_(False)
        yield go
    finally:
        detach(prepared)


def _learn(
    prepared: LoadedModel,
    go: Go,
    *,
    retain: Sequence[Encoded],
    forget: Sequence[Encoded],
    settings: Bending,
    progress: Progress,
) -> None:
    drawn = np.random.default_rng(settings.seed)
    optimiser = torch.optim.AdamW(prepared.trainable().values(), lr=settings.lr, weight_decay=0.0)
    prepared.model.eval()
    for update in range(settings.updates):
        go(float(drawn.random()))
        loss = _loss(prepared, _some(retain, drawn, num=settings.batch_size))
        if settings.forget_weight:
            loss = loss - settings.forget_weight * _loss(prepared, _some(forget, drawn, num=settings.batch_size))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        progress(update + 1, settings.updates, "bending the path")


def _some(rows: Sequence[Encoded], drawn: np.random.Generator, *, num: int) -> list[Encoded]:
    return [rows[at] for at in drawn.choice(len(rows), size=min(num, len(rows)), replace=False)]


def _loss(loaded: LoadedModel, encoded: Sequence[Encoded]) -> Tensor:
    """Mean over the rows of the mean negative log-prob of an answer's tokens."""
    scored = score(loaded, encoded)
    return -(scored.token_logprobs.sum(1) / scored.mask.sum(1)).mean()


def _scale(loaded: LoadedModel, by: float) -> None:
    """Multiplies what the adapter adds."""
    for module in loaded.core.modules():
        if isinstance(getattr(module, "scaling", None), dict) and ADAPTER in module.scaling:
            module.scaling[ADAPTER] = by
