"""Log-probs of answers given their contexts and images: the one function behind evaluation, training and attacks.

    scored = score(loaded, [encode(loaded, "<image>\\nwho is this?", " Anna.", [picture])])

Values equal a plain Hugging Face forward pass with log-softmax within 1e-5 in float32, whatever shares a row or batch.
Logits exist only at the positions that predict an answer token.
Shapes: B sequences, T tokens of the longest answer, N scored tokens, V vocabulary, R rows of L tokens, H hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmforget.errors import UserError
from mmforget.model.families import Tokens
from mmforget.model.packing import Layout, batches, lay_out, packed_rows, plain_rows
from mmforget.model.vision import FeatureCache, image_features
from mmforget.types import Scored

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmforget.model.encode import Encoded
    from mmforget.model.loaded import LoadedModel

MAX_TOKENS = 16384
MAX_LOGITS_BYTES = 256 * 2**20
"""Logits are made in pieces of at most this size unless they are asked for."""

Positions = Literal["answer", "all"]


def score(
    loaded: LoadedModel,
    encoded: Sequence[Encoded],
    *,
    want_logits: bool = False,
    positions: Positions = "answer",
    packed: bool = True,
    features: FeatureCache | None = None,
    max_tokens: int = MAX_TOKENS,
) -> Scored:
    """Scores of each sequence's answer, in input order, padded on the right; differentiable when gradients are on.

    Args:
        encoded: at least one; those about the same images share a row.
        want_logits: also return the logits, float32 [B, T, V].
        positions: `answer`, or `all` to score every token but the first, image tokens and prompt included.
        packed: False computes every sequence in a row of its own, which is slower and gives the same numbers.
        features: keeps tower features between calls; without it each image is encoded once a call.
        max_tokens: tokens of one forward pass, padding included; more are computed one pass after another.

    Raises:
        UserError: nothing to score.
    """
    first, width = _extent(encoded, positions=positions)
    images = image_features(loaded, _distinct_images(encoded), cache=features)
    share = packed and loaded.family.packs(loaded.core.config)
    rows = packed_rows(encoded) if share else plain_rows(encoded)
    parts = []
    for batch in batches(rows, max_tokens=max_tokens):
        layout = lay_out(encoded, batch, first=first, width=width)
        parts.append(_score_batch(loaded, layout, images=images, want_logits=want_logits))
    return _assemble(parts, shape=(len(encoded), width))


class _Part(NamedTuple):
    """Scores of one batch of rows: slots, log-probs and hits [N], logits [N, V] or None."""

    slot: Tensor
    logprobs: Tensor
    is_best: Tensor
    logits: Tensor | None


def _extent(encoded: Sequence[Encoded], *, positions: Positions) -> tuple[list[int], int]:
    """First scored position of each sequence, and the largest number of scored tokens."""
    if not encoded:
        raise UserError("nothing to score: no question was given")
    first = [one.num_context if positions == "answer" else 1 for one in encoded]
    for one, begin in zip(encoded, first, strict=True):
        if begin < 1 or len(one) <= begin:
            raise UserError(f"a sequence of {len(one)} tokens has none to score behind its {begin} context tokens")
    return first, max(len(one) - begin for one, begin in zip(encoded, first, strict=True))


def _distinct_images(encoded: Sequence[Encoded]) -> dict[str, Image]:
    return {key: image for one in encoded for key, image in zip(one.image_keys, one.images, strict=True)}


def _score_batch(loaded: LoadedModel, layout: Layout, *, images: dict[str, Tensor], want_logits: bool) -> _Part:
    hidden = loaded.family.hidden(loaded.core, _tokens(loaded, layout, images=images))
    target = torch.from_numpy(layout.target).to(hidden.device)
    chosen = hidden.flatten(0, 1)[torch.from_numpy(layout.predictor).to(hidden.device)]
    logprobs, is_best, logits = _head(loaded, chosen, target=target, want_logits=want_logits)
    return _Part(torch.from_numpy(layout.slot).to(logprobs.device), logprobs, is_best, logits)


def _tokens(loaded: LoadedModel, layout: Layout, *, images: dict[str, Tensor]) -> Tokens:
    device = loaded.device
    runs = zip(layout.image_key, layout.image_start, layout.image_count, strict=True)
    parts = [images[key][start : start + count] for key, start, count in runs]
    return Tokens(
        ids=torch.from_numpy(layout.ids).to(device),
        positions=torch.from_numpy(layout.positions).to(device),
        attention=attention_mask(
            torch.from_numpy(layout.branch).to(device), packed=layout.is_packed, dtype=_dtype(loaded)
        ),
        images=torch.cat(parts) if parts else None,
        image_at=torch.from_numpy(layout.image_at).to(device) if parts else None,
    )


def _dtype(loaded: LoadedModel) -> torch.dtype:
    weight: Tensor = loaded.core.get_input_embeddings().weight
    return weight.dtype


def attention_mask(branch: Tensor, *, packed: bool, dtype: torch.dtype) -> Tensor | None:
    """What each token may see, from `branch` [R, L]: 0 prefix, k branch k, -1 padding.

    Packed rows: additive [R, 1, L, L], 0 or the lowest number of `dtype`; a token sees what stands before it in the
    prefix and in its own branch. Plain rows: bool [R, L], or None where nothing is padded (causal by itself).
    """
    is_token = branch >= 0
    if not packed:
        return None if bool(is_token.all()) else is_token
    length = branch.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=branch.device).tril()
    # Padding is a branch of its own, so that no row of the mask is empty, which would give NaN.
    seen = causal & ((branch[:, None, :] == 0) | (branch[:, None, :] == branch[:, :, None]))
    blocked = torch.zeros((), dtype=dtype, device=branch.device).new_full((), torch.finfo(dtype).min)
    return torch.where(seen, torch.zeros_like(blocked), blocked)[:, None]


def _head(
    loaded: LoadedModel, hidden: Tensor, *, target: Tensor, want_logits: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Log-probs float32 [N], whether each target is the most likely token, and the logits where wanted."""
    if want_logits:
        return _target_scores(loaded, hidden, target, keep_logits=True)
    vocabulary = int(loaded.core.config.get_text_config().vocab_size)
    size = max(1, MAX_LOGITS_BYTES // (4 * vocabulary))
    if len(target) <= size:
        return _target_scores(loaded, hidden, target)
    pieces = []
    for part, wanted in zip(torch.split(hidden, size), torch.split(target, size), strict=True):
        if torch.is_grad_enabled():
            pieces.append(checkpoint(_target_scores, loaded, part, wanted, use_reentrant=False))
        else:
            pieces.append(_target_scores(loaded, part, wanted))
    return torch.cat([piece[0] for piece in pieces]), torch.cat([piece[1] for piece in pieces]), None


def _target_scores(
    loaded: LoadedModel, hidden: Tensor, target: Tensor, keep_logits: bool = False
) -> tuple[Tensor, Tensor, Tensor | None]:
    logits = loaded.family.head(loaded.core, hidden).float()
    target = target.to(logits.device)
    logprobs = logits.gather(-1, target[:, None])[:, 0] - logits.logsumexp(-1)
    return logprobs, logits.detach().argmax(-1) == target, logits if keep_logits else None


def _assemble(parts: Sequence[_Part], *, shape: tuple[int, int]) -> Scored:
    """The padded result, in input order."""
    slot = torch.cat([part.slot for part in parts])
    logprobs = torch.cat([part.logprobs for part in parts])
    flat = logprobs.new_zeros(shape[0] * shape[1])
    mask = torch.zeros_like(flat, dtype=torch.bool).index_fill(0, slot, True).view(shape)
    is_best = torch.ones_like(flat, dtype=torch.bool).index_copy(0, slot, torch.cat([part.is_best for part in parts]))
    logits = None
    if all(part.logits is not None for part in parts):
        found = torch.cat([part.logits for part in parts if part.logits is not None])
        logits = found.new_zeros(len(flat), found.shape[-1]).index_copy(0, slot, found).view(*shape, -1)
    return Scored(flat.index_copy(0, slot, logprobs).view(shape), mask, is_best.view(shape).all(1), logits)
