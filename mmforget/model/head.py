"""From hidden states to log-probs: the logits of one part of the positions at a time, each position once.

Peak memory so depends neither on the vocabulary nor on how many tokens are scored; where gradients are on, a part's
logits are made again in the backward pass.
Shapes: U places that predict a scored token, S scored tokens, V vocabulary, H hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from mmforget.model.loaded import LoadedModel
    from mmforget.model.packing import Layout

MAX_LOGITS_BYTES = 256 * 2**20
"""Logits are made in parts of at most this size."""
BEST_BLOCK = 256
"""Logits of one row among which the largest is looked for at a time, see `best_of`."""

AsReference = Callable[[], AbstractContextManager[object]]
"""A context in which the model is the one that is compared with, e.g. with adapters off."""
Statistic = Callable[[Tensor, Tensor], Tensor]
"""A number of each token's distribution: (log-probs float32 [n, V], tokens that came int64 [n]) -> float32 [n, ...]."""


class Before(NamedTuple):
    """What distributions are compared with.

    Attributes:
        hidden: [U, H], hidden states of the same places, constant.
        reference: the context that they come from; the head is asked there, too.
        vocabulary: bool [V], the tokens that a divergence is summed over, without renormalising; None: all.
    """

    hidden: Tensor
    reference: AsReference
    vocabulary: Tensor | None = None


class LogitRead(NamedTuple):
    """What is read off raw logits, or of distributions that are compared.

    Attributes:
        function: (logits float32 [n, V]) or, `compared`, (logits, those before float32 [n, V]) -> float32 [n].
        of_tokens: the function is (logits float32 [n, V], tokens that came int64 [n]) -> float32 [n] in place of that;
            `compared`, (log-probs float32 [n, V], tokens that came int64 [n], log-probs before float32 [n, V]).
    """

    function: Callable[..., Tensor]
    compared: bool
    of_tokens: bool = False


class AnswerScores(NamedTuple):
    """Scores of the answer tokens of one batch of rows.

    Attributes:
        logprobs: float32 [S].
        is_best: bool [S], whether no token was more likely.
        values: float32 [S, ...] each: KL(before || model) in nats where there is something before, then each statistic,
            then what is read off raw logits.
    """

    logprobs: Tensor
    is_best: Tensor
    values: tuple[Tensor, ...]


def answer_scores(
    loaded: LoadedModel,
    hidden: Tensor,
    *,
    layout: Layout,
    before: Before | None = None,
    statistics: Sequence[Statistic] = (),
    reads: Sequence[LogitRead] = (),
) -> AnswerScores:
    """Scores of a layout's targets from the hidden states [U, H] of their predictors.

    Args:
        reads: of which compared ones need something before.
    """

    def compute(chunk: _Chunk) -> tuple[Tensor, ...]:
        logits = loaded.family.head(loaded.core, hidden[chunk.start : chunk.stop]).float()
        old = None if before is None else _old_logits(loaded, before, chunk)
        if old is not None and loaded.mix is not None:
            logits, old = loaded.mix(old, logits), None
        found = list[Tensor]()
        scored_by, target = chunk.scored_by.to(logits.device), chunk.target.to(logits.device)
        if before is not None and old is not None:
            found.append(_divergence(logits, old, vocabulary=before.vocabulary).index_select(0, scored_by))
        if statistics:
            logprobs = functional.log_softmax(logits, dim=-1).index_select(0, scored_by)
            found += [statistic(logprobs, target) for statistic in statistics]
        for read in reads:
            found.append(_read(read, logits, old, scored_by=scored_by, target=target))
        # Last, since logits that nobody differentiates are used up by it.
        return (*_target_scores(logits, scored_by=scored_by, target=target), *found)

    logprobs, is_best, *values = _in_chunks(compute, chunks=list(_chunks(loaded, layout)))
    return AnswerScores(logprobs, is_best, tuple(values))


def statistic_of(loaded: LoadedModel, hidden: Tensor, *, layout: Layout, statistic: Statistic) -> Tensor:
    """A statistic of a layout's targets, float32 [S, ...], from hidden states [U, H] that the head reads.

    With gradients, logits are made again in the backward pass, and none are kept.
    """

    def compute(chunk: _Chunk) -> Tensor:
        logits = loaded.family.head(loaded.core, hidden[chunk.start : chunk.stop]).float()
        scored_by, target = chunk.scored_by.to(logits.device), chunk.target.to(logits.device)
        return statistic(functional.log_softmax(logits, dim=-1).index_select(0, scored_by), target)

    chunks = _chunks(loaded, layout)
    if torch.is_grad_enabled():
        return torch.cat([checkpoint(compute, chunk, use_reentrant=False) for chunk in chunks])
    return torch.cat([compute(chunk) for chunk in chunks])


def _read(read: LogitRead, logits: Tensor, old: Tensor | None, *, scored_by: Tensor, target: Tensor) -> Tensor:
    """One number of each target [s], from logits [u, V] and, where they are compared, those before."""
    if read.of_tokens and old is not None:
        now, before = (functional.log_softmax(one, dim=-1).index_select(0, scored_by) for one in (logits, old))
        return read.function(now, target, before)
    if read.of_tokens:
        return read.function(logits.index_select(0, scored_by), target)
    given = (logits, old) if read.compared else (logits,)
    return read.function(*given).index_select(0, scored_by)


def _old_logits(loaded: LoadedModel, before: Before, chunk: _Chunk) -> Tensor:
    """What the chunk is compared with: float32 [u, V], constant."""
    with before.reference(), torch.no_grad():
        logits: Tensor = loaded.family.head(loaded.core, before.hidden[chunk.start : chunk.stop]).float()
    return logits


def _divergence(logits: Tensor, old: Tensor, *, vocabulary: Tensor | None) -> Tensor:
    """KL(old || new) of the distributions of logits [u, V]: float32 [u]."""
    logprobs, before = (functional.log_softmax(one, -1) for one in (logits, old))
    by_token = functional.kl_div(logprobs, before, reduction="none", log_target=True)
    return (by_token if vocabulary is None else by_token * vocabulary.to(by_token.device)).sum(-1)


class _Chunk(NamedTuple):
    """Predictors `start` to `stop`, and the tokens they predict: which of them does [s], and the token [s]."""

    start: int
    stop: int
    scored_by: Tensor
    target: Tensor


def _chunks(loaded: LoadedModel, layout: Layout) -> Iterator[_Chunk]:
    """All predictors, in parts of as many as MAX_LOGITS_BYTES allows."""
    vocabulary = int(loaded.core.config.get_text_config().vocab_size)
    step = max(1, MAX_LOGITS_BYTES // (4 * vocabulary))
    for start in range(0, len(layout.predictor), step):
        stop = min(start + step, len(layout.predictor))
        low, high = np.searchsorted(layout.scored_by, (start, stop))
        scored_by, target = layout.scored_by[low:high] - start, layout.target[low:high]
        yield _Chunk(start, stop, *(torch.from_numpy(part).to(loaded.device) for part in (scored_by, target)))


def _in_chunks(compute: Callable[[_Chunk], tuple[Tensor, ...]], *, chunks: list[_Chunk]) -> list[Tensor]:
    """Each of the results for all chunks. More than one and with gradients, no chunk's logits are kept."""
    if len(chunks) > 1 and torch.is_grad_enabled():
        parts = [checkpoint(compute, chunk, use_reentrant=False) for chunk in chunks]
    else:
        parts = [compute(chunk) for chunk in chunks]
    return [torch.cat(column) for column in zip(*parts, strict=True)]


def _target_scores(logits: Tensor, *, scored_by: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probs [s] of targets and whether each is the most likely token, from logits [u, V].

    Without gradients, `logits` holds something else afterwards: no second tensor of that size is made.
    """
    of_target = logits[scored_by, target]
    largest, place = best_of(logits.detach())
    if logits.requires_grad:
        log_sum = logits.logsumexp(-1)
    else:
        # As `logsumexp` has it: an infinite logit is not taken from itself.
        shift = largest.masked_fill(largest.isinf(), 0)
        log_sum = shift + logits.sub_(shift[:, None]).exp_().sum(-1).log()
    return of_target - log_sum.index_select(0, scored_by), place.index_select(0, scored_by) == target


def best_of(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The largest logit of each row of [n, V] and its place, the first where several are as large: [n] both.

    Equal to `logits.max(-1)`, which on a processor looks at one number after the other and takes as long as a part of
    the head's own product.
    """
    size = logits.shape[-1]
    if logits.device.type != "cpu" or size < 4 * BEST_BLOCK:
        found = logits.max(-1)
        return found.values, found.indices
    whole = size // BEST_BLOCK
    blocks = logits[:, : whole * BEST_BLOCK].view(-1, whole, BEST_BLOCK).amax(-1)
    if size % BEST_BLOCK:
        blocks = torch.cat([blocks, logits[:, whole * BEST_BLOCK :].amax(-1, keepdim=True)], dim=-1)
    largest, block = blocks.max(-1)
    inside = block[:, None] * BEST_BLOCK + torch.arange(BEST_BLOCK)
    inside.clamp_(max=size - 1)
    return largest, inside.gather(-1, logits.gather(-1, inside).argmax(-1, keepdim=True))[:, 0]
