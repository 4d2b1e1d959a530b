"""Log-probs of answers given their contexts and images: the one function behind evaluation, training and attacks.

    scored = score(loaded, [encode(loaded, "<image>\\nwho is this?", " Anna.", [picture])])

Values equal a plain Hugging Face forward pass with log-softmax within 1e-5 in float32, whatever shares a row or batch.
Logits exist only at the positions that predict an answer token, and only a part of them at a time.
Shapes: B sequences, T tokens of the longest answer, S scored tokens, U places that predict one, H hidden size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.model.attention import tree_rows
from mmforget.model.families import Tokens
from mmforget.model.head import AnswerScores, Reference, answer_scores, answer_scores_against
from mmforget.model.packing import Ints, Layout, batches, lay_out, packed_rows, padded_batches, plain_rows
from mmforget.model.vision import FeatureCache, image_features, image_inputs
from mmforget.types import Scored

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmforget.model.encode import Encoded
    from mmforget.model.loaded import LoadedModel

MAX_TOKENS = 16384
Positions = Literal["answer", "all"]


class Divergence(NamedTuple):
    """Scores, and float32 [B, T] KL(reference || model) of the distributions they come from, in nats; 0 if padded."""

    scored: Scored
    token_kl: Tensor


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
        encoded: at least one; what they have in common is computed once.
        want_logits: also return the logits, float32 [B, T, V].
        positions: `answer`, or `all` to score every token but the first, image tokens and prompt included.
        packed: False computes every sequence in a row of its own, which is slower and gives the same numbers.
        features: keeps tower features between calls; without it each image is encoded once a call.
        max_tokens: tokens of one forward pass; more are computed one pass after another.

    Raises:
        UserError: nothing to score.
    """
    first, width = _extent(encoded, positions=positions)
    images = image_features(loaded, _distinct_images(encoded), cache=features)
    slots, parts = [], []
    for layout in _layouts(loaded, encoded, first=first, width=width, packed=packed, max_tokens=max_tokens):
        hidden = _predictors(loaded, layout, images=images)
        slots.append(layout.slot)
        parts.append(answer_scores(loaded, hidden, layout=layout, want_logits=want_logits))
    return _assemble(slots, parts, shape=(len(encoded), width))


def score_against(
    loaded: LoadedModel,
    encoded: Sequence[Encoded],
    *,
    reference: Reference,
    vocabulary: Tensor | None = None,
    positions: Positions = "answer",
    packed: bool = True,
    features: FeatureCache | None = None,
    max_tokens: int = MAX_TOKENS,
) -> Divergence:
    """`score`, and how far each distribution is from that of the same model inside `reference()`.

    Args:
        reference: a context in which `loaded` is the reference, e.g. with adapters off; no gradient flows there.
        vocabulary: bool [V], the tokens that the divergence is summed over, without renormalising; all without it.
    """
    first, width = _extent(encoded, positions=positions)
    distinct = _distinct_images(encoded)
    images = image_features(loaded, distinct, cache=features)
    with reference(), torch.no_grad():
        before = image_features(loaded, distinct, cache=features)
    slots, parts = [], []
    for layout in _layouts(loaded, encoded, first=first, width=width, packed=packed, max_tokens=max_tokens):
        with reference(), torch.no_grad():
            old = _predictors(loaded, layout, images=before)
        new = _predictors(loaded, layout, images=images)
        slots.append(layout.slot)
        parts.append(answer_scores_against(loaded, new, old, layout=layout, reference=reference, vocabulary=vocabulary))
    scored = _assemble(slots, parts, shape=(len(encoded), width))
    kl = torch.cat([part.kl for part in parts if part.kl is not None])
    return Divergence(scored, _padded(slots, kl, like=scored.token_logprobs))


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


def _layouts(
    loaded: LoadedModel, encoded: Sequence[Encoded], *, first: Sequence[int], width: int, packed: bool, max_tokens: int
) -> Iterator[Layout]:
    share = packed and loaded.shares_prefixes
    if share:
        planned = batches(packed_rows(encoded, max_tokens=max_tokens), max_tokens=max_tokens)
    elif loaded.pads:
        planned = padded_batches(plain_rows(encoded), max_tokens=max_tokens)
    else:
        planned = [[row] for row in plain_rows(encoded)]
    for rows in planned:
        yield lay_out(encoded, rows, first=first, width=width, flat=share)


def _predictors(loaded: LoadedModel, layout: Layout, *, images: dict[str, Tensor]) -> Tensor:
    """Hidden states [U, H] of the tokens that predict a scored one."""
    hidden = loaded.family.hidden(loaded.core, batch_tokens(loaded, layout, images=images))
    return hidden.flatten(0, 1).index_select(0, torch.from_numpy(layout.predictor).to(hidden.device))


def batch_tokens(loaded: LoadedModel, layout: Layout, *, images: dict[str, Tensor]) -> Tokens:
    """What a family's forward pass takes, from a layout and the projected features of its images."""
    device = loaded.device
    positions = torch.from_numpy(layout.positions).to(device)
    weight: Tensor = loaded.core.get_input_embeddings().weight
    return Tokens(
        ids=torch.from_numpy(layout.ids).to(device),
        positions=positions[0] if len(positions) == 1 else positions,
        attention=None if layout.is_token.all() else torch.from_numpy(layout.is_token).to(device),
        rows=tree_rows(layout, device=device, dtype=weight.dtype) if layout.is_flat else None,
        **image_inputs(loaded, layout, images=images),
    )


def _assemble(slots: Sequence[Ints], parts: Sequence[AnswerScores], *, shape: tuple[int, int]) -> Scored:
    """The padded result, in input order."""
    logprobs = torch.cat([part.logprobs for part in parts])
    empty = logprobs.new_zeros(shape)
    slot = torch.from_numpy(np.concatenate(slots)).to(logprobs.device)
    mask = torch.zeros_like(empty, dtype=torch.bool).view(-1).index_fill(0, slot, True).view(shape)
    hits = torch.ones_like(mask).view(-1).index_copy(0, slot, torch.cat([part.is_best for part in parts]))
    logits = None
    if all(part.logits is not None for part in parts):
        found = torch.cat([part.logits for part in parts if part.logits is not None])
        logits = found.new_zeros(empty.numel(), found.shape[-1]).index_copy(0, slot, found).view(*shape, -1)
    return Scored(_padded(slots, logprobs, like=empty), mask, hits.view(shape).all(1), logits)


def _padded(slots: Sequence[Ints], values: Tensor, *, like: Tensor) -> Tensor:
    """Values [S] at their slots in a tensor of `like`'s shape, 0 elsewhere."""
    slot = torch.from_numpy(np.concatenate(slots)).to(values.device)
    return torch.zeros_like(like).view(-1).index_copy(0, slot, values).view(like.shape)
