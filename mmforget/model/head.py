"""From hidden states to log-probs: the logits of one part of the positions at a time, each position once.

Peak memory so depends neither on the vocabulary nor on how many tokens are scored; where gradients are on, a part's
logits are made again in the backward pass.
Shapes: U places that predict a scored token, S scored tokens, V vocabulary, H hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
"""Logits are made in parts of at most this size unless they are asked for."""

Reference = Callable[[], AbstractContextManager[object]]


class AnswerScores(NamedTuple):
    """Scores of the answer tokens of one batch of rows.

    Attributes:
        logprobs: float32 [S].
        is_best: bool [S], whether no token was more likely.
        logits: float32 [S, V] where asked for.
        kl: float32 [S], KL(reference || model) in nats, where there is a reference.
    """

    logprobs: Tensor
    is_best: Tensor
    logits: Tensor | None = None
    kl: Tensor | None = None


def answer_scores(loaded: LoadedModel, hidden: Tensor, *, layout: Layout, want_logits: bool = False) -> AnswerScores:
    """Scores of a layout's targets from the hidden states [U, H] of their predictors."""
    if want_logits:
        (chunk,) = _chunks(loaded, layout, size=len(hidden))
        logits = loaded.family.head(loaded.core, hidden).float()
        return AnswerScores(*_target_scores(logits, chunk), logits.index_select(0, chunk.scored_by.to(logits.device)))

    def compute(chunk: _Chunk) -> tuple[Tensor, ...]:
        logits = loaded.family.head(loaded.core, hidden[chunk.start : chunk.stop]).float()
        return _target_scores(logits, chunk)

    return AnswerScores(*_in_chunks(compute, chunks=list(_chunks(loaded, layout))))


def answer_scores_against(
    loaded: LoadedModel,
    hidden: Tensor,
    reference_hidden: Tensor,
    *,
    layout: Layout,
    reference: Reference,
    vocabulary: Tensor | None = None,
) -> AnswerScores:
    """`answer_scores` with the divergence from the reference, whose hidden states [U, H] are constant.

    Args:
        vocabulary: bool [V], the tokens that the divergence is summed over; all without it.
    """

    def compute(chunk: _Chunk) -> tuple[Tensor, ...]:
        part = slice(chunk.start, chunk.stop)
        with reference(), torch.no_grad():
            before = functional.log_softmax(loaded.family.head(loaded.core, reference_hidden[part]).float(), dim=-1)
        logits = loaded.family.head(loaded.core, hidden[part]).float()
        now = functional.log_softmax(logits, dim=-1)
        by_token = functional.kl_div(now, before, reduction="none", log_target=True)
        kl = (by_token if vocabulary is None else by_token * vocabulary.to(by_token.device)).sum(-1)
        return (*_target_scores(logits, chunk), kl.index_select(0, chunk.scored_by.to(kl.device)))

    logprobs, is_best, kl = _in_chunks(compute, chunks=list(_chunks(loaded, layout)))
    return AnswerScores(logprobs, is_best, kl=kl)


class _Chunk(NamedTuple):
    """Predictors `start` to `stop`, and the tokens they predict: which of them does [s], and the token [s]."""

    start: int
    stop: int
    scored_by: Tensor
    target: Tensor


def _chunks(loaded: LoadedModel, layout: Layout, *, size: int | None = None) -> Iterator[_Chunk]:
    """All predictors, in parts of `size` or as many as MAX_LOGITS_BYTES allows."""
    vocabulary = int(loaded.core.config.get_text_config().vocab_size)
    step = size or max(1, MAX_LOGITS_BYTES // (4 * vocabulary))
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


def _target_scores(logits: Tensor, chunk: _Chunk) -> tuple[Tensor, Tensor]:
    """Log-probs [s] of the chunk's targets and whether each is the most likely token, from logits [u, V]."""
    device = logits.device
    scored_by, target = chunk.scored_by.to(device), chunk.target.to(device)
    logprobs = logits[scored_by, target] - logits.logsumexp(-1).index_select(0, scored_by)
    return logprobs, logits.detach().argmax(-1).index_select(0, scored_by) == target
