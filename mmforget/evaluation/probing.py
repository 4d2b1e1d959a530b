"""Attacks that train a head of their own for each layer they look at, on rows to keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from mmforget.asking import Ask, Depth, Look
from mmforget.attacks.base import Probing
from mmforget.errors import UserError
from mmforget.lm.adapter import MMForgetLM
from mmforget.lm.batching import chunks
from mmforget.model.lens import as_last
from mmforget.plugins import running

T = TypeVar("T")
Added = Callable[[Tensor], Tensor]


class _Seen(NamedTuple):
    """Of the places that predict an answer's tokens: what the head takes, float32 [T, D, H], and the tokens."""

    states: Tensor
    tokens: list[int]


@torch.no_grad()
def probed(
    lm: MMForgetLM,
    asks: Sequence[Ask],
    *,
    attack: Probing,
    depths: Sequence[Depth],
    taught: Sequence[Ask],
    look: Look[T],
) -> list[list[T]]:
    """What `look` makes of the probes' logits at each place that predicts a token of a question's continuation.

    Args:
        depths: where the attack looks.
        taught: the questions with answers that it learns on.
    """
    probes = _probes(lm, taught, attack=attack, depths=depths)
    found: list[list[T]] = []
    for part in chunks(range(len(asks)), size=lm.batch_size):
        for seen in _seen(lm, [asks[at] for at in part], depths=depths):
            told = [_logits(lm, seen.states[:, at]) + probe(seen.states[:, at]) for at, probe in enumerate(probes)]
            logits = torch.stack(told, dim=1)
            found.append([look(one, token) for one, token in zip(logits, seen.tokens, strict=True)])
    return found


def _probes(lm: MMForgetLM, taught: Sequence[Ask], *, attack: Probing, depths: Sequence[Depth]) -> list[Added]:
    """One probe a depth, learnt one after another: logits of one layer exist at a time."""
    parts = [one for part in chunks(range(len(taught)), size=lm.batch_size) for one in _seen(
        lm, [taught[at] for at in part], depths=depths
    )]  # fmt: skip
    states = torch.cat([one.states for one in parts])
    tokens = torch.tensor([token for one in parts for token in one.tokens], device=states.device)
    probes: list[Added] = []
    for at in range(len(depths)):
        own = states[:, at].contiguous()
        with running(attack, what=f"attack {attack.label}: teach"):
            probes.append(attack.teach(own, _logits(lm, own), tokens))
    return probes


def _seen(lm: MMForgetLM, asks: Sequence[Ask], *, depths: Sequence[Depth]) -> list[_Seen]:
    layers, loaded, found = sorted({depth.layer for depth in depths}), lm.loaded, list[_Seen]()
    for ask, states in zip(asks, lm.asked.hidden(asks, layers=layers), strict=True):
        encoded = lm.engine.encode(ask)
        tokens = list(encoded.ids[encoded.num_context :])
        if not tokens:
            raise UserError(f"{ask.where or 'request'}: has no answer whose tokens could be looked for")
        read = [
            as_last(loaded, states[layers.index(depth.layer)].to(loaded.core.dtype), times=depth.num_norms).float()
            for depth in depths
        ]
        found.append(_Seen(torch.stack(read, dim=1), tokens))
    return found


def _logits(lm: MMForgetLM, states: Tensor) -> Tensor:
    """What the model's own head says of normalised states [T, H]: float32 [T, V]."""
    logits: Tensor = lm.loaded.family.head(lm.loaded.core, states.to(lm.loaded.core.dtype)).float()
    return logits
