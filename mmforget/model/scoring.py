"""Log-probs of answers given their contexts and images: the one function behind evaluation, training and attacks.

    scored = score(loaded, [encode(loaded, "<image>\\nwho is this?", " Anna.", [picture])])

Values equal a plain Hugging Face forward pass with log-softmax within 1e-5 in float32, whatever shares a row or batch.
Logits exist only at the positions that predict an answer token, and only a part of them at a time.
Shapes: B sequences, T tokens of the longest answer, S scored tokens, U places that predict one, H hidden size, K
layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple, TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mmforget.errors import UserError
from mmforget.model.activations import decoder_layers, layer_number, reading
from mmforget.model.head import AnswerScores, AsReference, Before, LogitRead, Statistic, answer_scores
from mmforget.model.inputs import batch_tokens
from mmforget.model.last_layer import LastLayer, last_layer, only_at, seen_at, where_few_are_read
from mmforget.model.lens import LensRead, layer_values, layers_from
from mmforget.model.lora import adapters_off
from mmforget.model.lower_states import Lower, starting_above, usable
from mmforget.model.packing import (
    Ints,
    Layout,
    PackedRow,
    batches,
    lay_out,
    packed_rows,
    padded_batches,
    plain_rows,
)
from mmforget.model.shallow import shallow
from mmforget.model.stack import by_place, selecting
from mmforget.model.vision import FeatureCache, image_features
from mmforget.types import Scored

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmforget.model.encode import Encoded
    from mmforget.model.loaded import LoadedModel

MAX_TOKENS = 16384
Positions = Literal["answer", "all"]


class Settings(TypedDict, total=False):
    """How sequences are scored.

    Attributes:
        positions: `answer` (default), or `all` to score every token but the first, image tokens and prompt included.
        packed: False computes every sequence in a row of its own, which is slower and gives the same numbers.
        features: keeps tower features between calls; without it each image is encoded once a call.
        max_tokens: tokens of one forward pass; more are computed one pass after another.
    """

    positions: Positions
    packed: bool
    features: FeatureCache | None
    max_tokens: int


class Wanted(NamedTuple):
    """What is wanted of each token's distribution besides the log-prob of the token that came.

    Attributes:
        reference: a context in which the model is another one, e.g. with adapters off: how far the distributions of
            both are apart. No gradient flows there.
        vocabulary: bool [V], the tokens that this is summed over, without renormalising; None: all.
        statistics: see `head.Statistic`.
        reads: what is wanted of raw logits; compared ones need the reference.
        layers: numbers of decoder layers whose hidden states are wanted where a token is predicted; a float is a share
            of all layers.
        lenses: what is wanted of the distributions that the head makes of the states of deeper layers.
    """

    reference: AsReference | None = None
    vocabulary: Tensor | None = None
    statistics: Sequence[Statistic] = ()
    reads: Sequence[LogitRead] = ()
    layers: Sequence[int | float] = ()
    lenses: Sequence[LensRead] = ()


class Looked(NamedTuple):
    """Scores, and what else was wanted.

    Attributes:
        scored: as `score` gives them, of labels where sequences have these; tokens without one do not count.
        values: float32 [B, T, ...] each, 0 where padded: KL(reference || model) in nats where there is a reference,
            then each statistic, what is read off raw logits, hidden states [B, T, K, H] where layers are named, and of
            each lens [B, T, K].
    """

    scored: Scored
    values: tuple[Tensor, ...]


def score(loaded: LoadedModel, encoded: Sequence[Encoded], **settings: Unpack[Settings]) -> Scored:
    """Scores of each sequence's answer, in input order, padded on the right; differentiable when gradients are on.

    Args:
        encoded: at least one; what they have in common is computed once.
        settings: see `Settings`.

    Raises:
        UserError: nothing to score.
    """
    return look(loaded, encoded, wanted=Wanted(), **settings).scored


def look(loaded: LoadedModel, encoded: Sequence[Encoded], *, wanted: Wanted, **settings: Unpack[Settings]) -> Looked:
    """`score`, and what is wanted of the distributions that the scores come from, in the same pass."""
    positions = settings.get("positions", "answer")
    first, width = _extent(encoded, positions=positions)
    packed, max_tokens = settings.get("packed", True), settings.get("max_tokens", MAX_TOKENS)
    if loaded.mix is not None:
        wanted = wanted._replace(reference=partial(adapters_off, loaded))
    layers = [layer_number(loaded.core, layer) for layer in wanted.layers]
    deep = {number: layers_from(loaded.core, lens.from_depth) for number, lens in enumerate(wanted.lenses)}
    numbers = {*layers, *(layer for own in deep.values() for layer in own)}
    lower = usable(loaded, is_flat=packed and loaded.shares_prefixes, layers=sorted(numbers))
    features = settings.get("features")
    given = _Given() if lower is not None else _images(loaded, encoded, wanted=wanted, features=features)
    given = given._replace(last_before=last_layer(loaded))
    with shallow(loaded):
        given = given._replace(last=last_layer(loaded))
    slots, parts = [], []
    for rows, layout in _layouts(loaded, encoded, first=first, width=width, packed=packed, max_tokens=max_tokens):
        if lower is not None:
            given = given._replace(lower=lower.of(loaded, encoded, rows, features=features))
        slots.append(layout.slot)
        parts.append(_layout_scores(loaded, layout, given=given, wanted=wanted, layers=layers, deep=deep))
    found = _assemble(slots, parts, shape=(len(encoded), width))
    return found if all(one.labels is None for one in encoded) else _labelled_alone(found, encoded, first=first)


class _Given(NamedTuple):
    """What stands below the layers that are computed.

    Attributes:
        images: features by key, and
        before: those in the reference, where there is one.
        lower: what stands below the edits, where that is known; then no images are needed.
        last: the last layer, where it is computed for predictors alone, and
        last_before: that of the whole model, where only the first layers are computed.
    """

    images: dict[str, Tensor] | None = None
    before: dict[str, Tensor] | None = None
    lower: Lower | None = None
    last: LastLayer | None = None
    last_before: LastLayer | None = None


def _images(
    loaded: LoadedModel, encoded: Sequence[Encoded], *, wanted: Wanted, features: FeatureCache | None
) -> _Given:
    distinct = _distinct_images(encoded)
    images = image_features(loaded, distinct, cache=features)
    if wanted.reference is None:
        return _Given(images)
    with wanted.reference(), torch.no_grad():
        return _Given(images, image_features(loaded, distinct, cache=features))


def _layout_scores(
    loaded: LoadedModel,
    layout: Layout,
    *,
    given: _Given,
    wanted: Wanted,
    layers: Sequence[int],
    deep: Mapping[int, Sequence[int]],
) -> AnswerScores:
    """Scores of one layout; `layers` are those whose states are wanted, `deep` those of each lens."""
    old = None
    if wanted.reference is not None:
        # What logits are mixed with are those of the whole model; what training compares with is what it began as.
        is_whole = loaded.mix is not None
        side, last = (nullcontext(), given.last_before) if is_whole else (shallow(loaded), given.last)
        with wanted.reference(), torch.no_grad(), side:
            before = _predictors(loaded, layout, images=given.before, given=given._replace(last=last))
            old = Before(before, wanted.reference, wanted.vocabulary)
    numbers = {*layers, *(layer for own in deep.values() for layer in own)}
    modules = decoder_layers(loaded.core) if numbers else []
    with reading({str(number): modules[number] for number in numbers}) as read, shallow(loaded):
        new = _predictors(loaded, layout, images=given.images, given=given)
    found = answer_scores(loaded, new, layout=layout, before=old, statistics=wanted.statistics, reads=wanted.reads)
    values = list(found.values)
    if layers:
        states = torch.stack([_at_predictors(read[str(number)], layout) for number in layers], dim=1)
        scored_by = torch.from_numpy(layout.scored_by).to(states.device)
        values.append(states.index_select(0, scored_by).float())
    for number, lens in enumerate(wanted.lenses):
        seen = [_at_predictors(read[str(layer)], layout) for layer in deep[number]]
        values.append(layer_values(loaded, seen, layout=layout, lens=lens))
    return found._replace(values=tuple(values))


def _at_predictors(calls: Sequence[Tensor], layout: Layout) -> Tensor:
    """Of what a layer put out [R, L, H], in one call or in one for each row: the places of predictors, [U, H]."""
    width = layout.ids.shape[-1]
    rows = torch.cat([functional.pad(call, (0, 0, 0, width - call.shape[1])) for call in calls])
    return rows.flatten(0, 1).index_select(0, torch.from_numpy(layout.predictor).to(rows.device))


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
) -> Iterator[tuple[list[PackedRow], Layout]]:
    share = packed and loaded.shares_prefixes
    if share:
        planned = batches(packed_rows(encoded, max_tokens=max_tokens), max_tokens=max_tokens)
    elif loaded.pads:
        planned = padded_batches(plain_rows(encoded), max_tokens=max_tokens)
    else:
        planned = [[row] for row in plain_rows(encoded)]
    for rows in planned:
        yield rows, lay_out(encoded, rows, first=first, width=width, flat=share)


def _predictors(loaded: LoadedModel, layout: Layout, *, images: dict[str, Tensor] | None, given: _Given) -> Tensor:
    """Hidden states [U, H] of the tokens that predict a scored one, from images or from states below the edits."""
    places = torch.from_numpy(layout.predictor)
    tokens = batch_tokens(loaded, layout, images=images)
    last = None
    if tokens.rows is not None:
        last = where_few_are_read(given.last, num_read=len(places), num_places=layout.ids.size)
        seen = seen_at(loaded, last, tokens.rows, layout=layout, places=np.sort(layout.predictor))
        tokens = tokens._replace(rows=seen)
    with (
        selecting(loaded, by_place(layout.edit, device=loaded.device)),
        starting_above(loaded, given.lower),
        only_at(last, places),
    ):
        hidden = loaded.family.hidden(loaded.core, tokens)
    return hidden.flatten(0, 1).index_select(0, places.to(hidden.device))


def _assemble(slots: Sequence[Ints], parts: Sequence[AnswerScores], *, shape: tuple[int, int]) -> Looked:
    """The padded results, in input order."""
    logprobs = torch.cat([part.logprobs for part in parts])
    slot = torch.from_numpy(np.concatenate(slots)).to(logprobs.device)
    mask = torch.zeros(shape, dtype=torch.bool, device=slot.device).view(-1).index_fill(0, slot, True).view(shape)
    hits = torch.ones_like(mask).view(-1).index_copy(0, slot, torch.cat([part.is_best for part in parts]))
    hits = hits.view(shape)
    scored = Scored(_padded(slot, logprobs, shape=shape), mask, hits.all(1), hits)
    columns = zip(*(part.values for part in parts), strict=True)
    return Looked(scored, tuple(_padded(slot, torch.cat(column), shape=shape) for column in columns))


def _labelled_alone(looked: Looked, encoded: Sequence[Encoded], *, first: Sequence[int]) -> Looked:
    """Without the tokens that have no label, in sequences that have labels."""
    keep = torch.ones(looked.scored.mask.shape, dtype=torch.bool)
    for row, (one, begin) in enumerate(zip(encoded, first, strict=True)):
        if one.labels is not None:
            context, labels = torch.zeros(one.num_context - begin, dtype=torch.bool), torch.tensor(one.labels)
            keep[row, : len(one) - begin] = torch.cat([context, labels >= 0])
    keep = keep.to(looked.scored.mask.device)
    scored = looked.scored
    hits = None if scored.is_best is None else scored.is_best | ~keep
    is_greedy = scored.is_greedy if hits is None else hits.all(1)
    values = tuple(_where(keep, value) for value in looked.values)
    return Looked(Scored(_where(keep, scored.token_logprobs), scored.mask & keep, is_greedy, hits), values)


def _where(keep: Tensor, values: Tensor) -> Tensor:
    """Values [B, T, ...] where bool [B, T] says so, elsewhere 0."""
    return values.masked_fill(~keep.view(*keep.shape, *(1,) * (values.dim() - 2)), 0.0)


def _padded(slot: Tensor, values: Tensor, *, shape: tuple[int, int]) -> Tensor:
    """Values [S, ...] at their slots in a tensor [B, T, ...], 0 elsewhere."""
    empty = values.new_zeros(shape[0] * shape[1], *values.shape[1:])
    return empty.index_copy(0, slot, values).view(*shape, *values.shape[1:])
