"""Training one expert of a mixture of experts, for a method that says which: what trains, and what holds its router."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from mmforget import parallel
from mmforget.errors import UserError
from mmforget.methods.base import hook
from mmforget.methods.requests import FORGET
from mmforget.model.activations import evaluating
from mmforget.model.encode import Encoded
from mmforget.model.loaded import LoadedModel
from mmforget.model.routing import Block, expert_blocks, num_chosen, routed
from mmforget.types import Scored

logger = logging.getLogger(__name__)

NUM_COMPARED = 64
"""Rows whose experts are compared with those before."""


class Score(Protocol):
    @property
    def loaded(self) -> LoadedModel: ...
    def __call__(self, encoded: Sequence[Encoded]) -> Scored: ...


class Expert(NamedTuple):
    """The one that trains.

    Attributes:
        number: among the experts of its block.
        chosen: of the first rows to forget and to keep, by source, which experts of that block saw each token before:
            int64 [n, k].
    """

    block: Block
    number: int
    chosen: Mapping[str, Tensor]


def choose(score: Score, method: Any, rows: Mapping[str, Sequence[Encoded]], *, has_adapters: bool) -> Expert:
    """The expert that the method chooses by what the rows to forget go through; it and its router train alone.

    Args:
        rows: by source, those to forget and, where there are any, to keep.

    Raises UserError for a model without experts, with adapters, and among several processes.
    """
    loaded = score.loaded
    blocks = expert_blocks(loaded.core)
    if has_adapters:
        raise UserError("this method trains one expert itself, and no adapters; train without LoRA (--lora_r 0)")
    if parallel.world_size() > 1:
        raise UserError("this method chooses an expert by all rows to forget, in one process; start one")
    affinities = _affinities(list(_seen(score, rows[FORGET], blocks)))
    layer, number = hook(method, method.choose_expert, what="choose_expert")(affinities)
    block = blocks[layer]
    loaded.model.requires_grad_(False)
    for name in (*block.parameters, f"{block.router}.weight"):
        loaded.core.get_parameter(name).requires_grad_(True)
    logger.info(
        "expert %d of %s trains, whose mean probability is %.3f, and its router", number, block.router, affinities.max()
    )
    return Expert(block, number, {source: _chosen(score, own, block) for source, own in rows.items()})


def _affinities(seen: Sequence[Sequence[Tensor]]) -> Tensor:
    """Mean probabilities over all tokens [L, E], of what each row came to; 0 where a layer has fewer experts."""
    means = [torch.cat(own).mean(0).cpu() for own in zip(*seen, strict=True)]
    width = max(map(len, means))
    return torch.stack([torch.nn.functional.pad(one, (0, width - len(one))) for one in means])


def masks(expert: Expert, loaded: LoadedModel) -> dict[str, Tensor]:
    """Of the experts' weights, what belongs to the one that trains."""
    found = {}
    for name in expert.block.parameters:
        mask = torch.zeros_like(loaded.core.get_parameter(name), dtype=torch.bool)
        mask[expert.number] = True
        found[name] = mask
    return found


def anchored(score: Score, method: Any, expert: Expert, rows: Sequence[Encoded]) -> Tensor:
    """The method's term of the router's probabilities for all tokens of these rows, differentiable."""
    found = []
    for one in rows:
        with routed(score.loaded.core, [expert.block]) as calls:
            score([one])
        found += calls[0]
    term: Tensor = hook(method, method.anchor, what="anchor")(torch.cat(found), expert=expert.number)
    return term


def overlap(score: Score, expert: Expert, rows: Mapping[str, Sequence[Encoded]]) -> dict[str, float]:
    """By source, the share of experts that see the first rows' tokens now and did before, in the block that trained."""
    found = {}
    for source, before in expert.chosen.items():
        now = _chosen(score, rows[source], expert.block)
        found[source] = float((now[:, :, None] == before[:, None, :]).any(-1).float().mean())
    return found


def _chosen(score: Score, rows: Sequence[Encoded], block: Block) -> Tensor:
    num = num_chosen(score.loaded.core)
    return torch.cat([found[0].topk(num, dim=-1).indices for found in _seen(score, rows[:NUM_COMPARED], [block])])


@torch.no_grad()
def _seen(score: Score, rows: Sequence[Encoded], blocks: Sequence[Block]) -> Iterable[list[Tensor]]:
    """By row and block, probabilities [n, E] of all its tokens: a row alone has no padding."""
    found = []
    with evaluating(score.loaded.model):
        for one in rows:
            with routed(score.loaded.core, blocks) as calls:
                score([one])
            found.append([torch.cat(own) for own in calls])
    return found
