"""An engine's hidden states read by its model's head: what attacks on hidden states look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from mmforget.asking import Ask, Depth, Look
from mmforget.errors import UserError
from mmforget.model.encode import Encoded
from mmforget.model.head import MAX_LOGITS_BYTES
from mmforget.model.lens import as_last
from mmforget.model.loaded import LoadedModel

T = TypeVar("T")


class Shown(Protocol):
    """An engine around a model, that shows its hidden states."""

    @property
    def loaded(self) -> LoadedModel: ...

    def encode(self, ask: Ask) -> Encoded: ...

    def hidden(self, asks: Sequence[Ask], *, layers: Sequence[int]) -> list[Tensor]: ...


@torch.no_grad()
def through_lens(engine: Shown, asks: Sequence[Ask], *, depths: Sequence[Depth], look: Look[T]) -> list[list[T]]:
    """What `look` makes of the logits [D, V] at each place that predicts a token of a question's continuation.

    A part of the logits exists at a time, and none at places that predict no token of a continuation.

    Raises UserError for a model whose layers its head cannot read, and for a question without a continuation.
    """
    require_lens(engine.loaded)
    layers = sorted({depth.layer for depth in depths})
    if not asks or not depths:
        return [[] for _ in asks]
    found: list[list[T]] = []
    for ask, states in zip(asks, engine.hidden(asks, layers=layers), strict=True):
        encoded = engine.encode(ask)
        tokens = encoded.ids[encoded.num_context :]
        if not tokens:
            raise UserError(f"{ask.where or 'request'}: has no answer whose tokens could be looked for")
        places = [layers.index(depth.layer) for depth in depths]
        seen = looks(engine.loaded, states[places].transpose(0, 1), depths=depths)
        found.append([look(logits, token) for logits, token in zip(seen, tokens, strict=True)])
    return found


def require_lens(loaded: LoadedModel) -> None:
    """Raises UserError for a model whose layers its head cannot read."""
    as_last(loaded, torch.zeros(1, int(loaded.core.config.get_text_config().hidden_size), dtype=loaded.core.dtype))


def looks(loaded: LoadedModel, states: Tensor, *, depths: Sequence[Depth]) -> Iterator[Tensor]:
    """Logits float32 [D, V] at each place, from states [T, D, H], those of a few places at a time."""
    dtype, size = loaded.core.dtype, int(loaded.core.config.get_text_config().vocab_size)
    step = max(1, MAX_LOGITS_BYTES // (4 * size * len(depths)))
    for part in torch.split(states, step):
        read = [as_last(loaded, part[:, at].to(dtype), times=depth.num_norms) for at, depth in enumerate(depths)]
        logits = loaded.family.head(loaded.core, torch.stack(read, dim=1).flatten(0, 1).to(dtype)).float()
        yield from logits.view(*part.shape[:2], -1)
