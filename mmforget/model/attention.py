"""Attention over rows that share tokens, without computing what the mask would throw away.

A row is a root, which all its sequences begin with, and what follows it. The root attends to itself. What follows is
cut into blocks; each attends to the tokens before it that it sees, mostly the root, and to itself under a small mask.
RowAttention lie one behind the other without padding; only attention gathers them into padded pieces of similar size.

`load_model` gives models that attend by SDPA this function in its place. Called without `rows` it is SDPA.
Shapes: N tokens of all rows, P pieces of Q queries and K keys, D width of a head.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

if TYPE_CHECKING:
    from mmforget.model.packing import Layout

Ints = NDArray[np.int64]
NAME = "mmforget"
BLOCK_TOKENS = 240
"""Size of a block: a smaller one would copy the root's keys more often than it saves masked work."""


class RowAttention(Protocol):
    """What the rows of one forward pass do in every attention layer."""

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, *, scaling: float, dropout: float
    ) -> Tensor:
        """What each token takes from the tokens it sees.

        Args:
            query: [N, heads, D].
            key, value: [N, heads of keys, D].

        Returns: [N, heads, D].
        """


def use_shared_prefixes(model: nn.Module) -> None:
    """Lets the attention layers of `model`'s language model take `rows`; a no-op where it does not attend by SDPA."""
    config: Any = model.config
    text = config.get_text_config()
    if text._attn_implementation == "sdpa":
        text._attn_implementation = NAME


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    rows: RowAttention | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """An attention function of transformers: query [B, heads, L, D] and the like to [B, L, heads, D]."""
    if rows is None:
        found: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )
        return found
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    parts = (part.transpose(1, 2).flatten(0, 1) for part in (query, key, value))
    layer: Any = module.layer_idx
    return rows.attend(layer, *parts, scaling=scale, dropout=dropout)[None], None


AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, sdpa_mask)


class _Piece(NamedTuple):
    """Part of the attention, gathered and padded: P pieces of Q queries and K keys.

    Attributes:
        query_at: [P * Q] which tokens ask.
        key_at: [P * K] which tokens they look at.
        shape: (P, Q, K).
        mask: [P, 1, Q, K], 0 or the lowest number of its dtype; None for causal attention of tokens among themselves.
    """

    query_at: Tensor
    key_at: Tensor
    shape: tuple[int, int, int]
    mask: Tensor | None


@dataclass(frozen=True, eq=False)
class TreeRows:
    """The attention of flat rows; make it with `tree_rows`, once for all layers.

    Attributes:
        at: [N] where each token's result is among those of all pieces; 1 + the last place where it has none, which
            stands for 0.
    """

    pieces: tuple[_Piece, ...]
    at: Tensor

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, *, scaling: float, dropout: float
    ) -> Tensor:
        results = [
            _attend_piece(piece, query, key, value, scaling=scaling, dropout=dropout).flatten(0, 1)
            for piece in self.pieces
        ]
        nothing = results[0].new_zeros(1, *results[0].shape[1:])
        return torch.cat([*results, nothing]).index_select(0, self.at.to(query.device))


def tree_rows(layout: Layout, *, device: torch.device, dtype: torch.dtype) -> TreeRows:
    """The attention of a flat layout, for a model that computes in `dtype`."""
    return _rows(_padded(_spans(layout)), layout, device=device, dtype=dtype)


def rows_at(layout: Layout, places: Ints, *, device: torch.device, dtype: torch.dtype) -> TreeRows:
    """The attention of these places alone, in rising order, of a flat layout: all others take nothing."""
    return _rows(_asked(layout, places), layout, device=device, dtype=dtype)


def _rows(
    padded: Iterable[tuple[Ints, Ints | None]], layout: Layout, *, device: torch.device, dtype: torch.dtype
) -> TreeRows:
    pieces, order = list[_Piece](), list[Ints]()
    for queries, keys in padded:
        pieces.append(_piece(queries, keys, end=layout.end, device=device, dtype=dtype))
        order.append(queries.ravel())
    flat = np.concatenate(order)
    at = np.full(len(layout.end), len(flat), dtype=np.int64)
    real = flat >= 0
    at[flat[real]] = np.flatnonzero(real)
    return TreeRows(tuple(pieces), torch.from_numpy(at).to(device))


def _asked(layout: Layout, places: Ints) -> Iterable[tuple[Ints, Ints]]:
    """Queries [P, Q] at these places and keys [P, K], all tokens of their row, -1 where padded; similar rows together.

    Who sees whom stays what the layout says.
    """
    classes: dict[tuple[int, int], list[tuple[Ints, Ints]]] = {}
    cuts = np.searchsorted(places, layout.row_start)
    for number, (start, stop) in enumerate(zip(layout.row_start[:-1], layout.row_start[1:], strict=True)):
        asked = places[cuts[number] : cuts[number + 1]]
        if len(asked):
            size = (len(asked).bit_length(), int(stop - start).bit_length())
            classes.setdefault(size, []).append((asked, np.arange(start, stop)))
    for of_class in classes.values():
        queries, keys = zip(*of_class, strict=True)
        yield _stacked(list(queries)), _stacked(list(keys))


class _Span(NamedTuple):
    """Tokens `start` to `stop`, which attend to themselves and to those before them; None for a root, with none."""

    start: int
    stop: int
    before: Ints | None

    @property
    def size_class(self) -> tuple[bool, int, int]:
        """Spans of one class differ in size by less than a factor of two, so that padding costs little."""
        num_before = 0 if self.before is None else len(self.before)
        return self.before is None, (self.stop - self.start).bit_length(), num_before.bit_length()


def _spans(layout: Layout) -> Iterable[list[_Span]]:
    """All spans of the rows, those of similar size together."""
    classes: dict[tuple[bool, int, int], list[_Span]] = {}
    bounds = zip(layout.row_start[:-1].tolist(), layout.row_start[1:].tolist(), layout.num_root.tolist(), strict=True)
    for start, stop, num_root in bounds:
        for span in (_Span(start, start + num_root, None), *_blocks(layout.end, start=start, root=num_root, stop=stop)):
            classes.setdefault(span.size_class, []).append(span)
    return classes.values()


def _blocks(end: Ints, *, start: int, root: int, stop: int) -> Iterable[_Span]:
    """What follows the root of a row, in blocks of equal size, each with the tokens before it that it sees.

    Whatever a token of a block sees before the block, its first token sees, too: in depth-first order both stand below
    it. So a block may begin anywhere.
    """
    length = stop - start - root
    num_blocks = -(-length // BLOCK_TOKENS)
    for number in range(num_blocks):
        first, last = (start + root + length * edge // num_blocks for edge in (number, number + 1))
        yield _Span(first, last, start + np.flatnonzero(end[start:first] > first))


def _padded(groups: Iterable[list[_Span]]) -> Iterable[tuple[Ints, Ints | None]]:
    """Places of queries [P, Q] and keys [P, K] of each group, -1 where padded; keys None for roots."""
    for spans in groups:
        own = _stacked([np.arange(span.start, span.stop) for span in spans])
        before = [span.before for span in spans if span.before is not None]
        yield own, np.concatenate([_stacked(before), own], axis=1) if before else None


def _stacked(rows: list[Ints]) -> Ints:
    """[P, longest] the rows, with -1 behind the shorter ones."""
    found = np.full((len(rows), max(map(len, rows))), -1, dtype=np.int64)
    for row, numbers in zip(found, rows, strict=True):
        row[: len(numbers)] = numbers
    return found


def _piece(queries: Ints, keys: Ints | None, *, end: Ints, device: torch.device, dtype: torch.dtype) -> _Piece:
    mask, looked = None, queries if keys is None else keys
    if keys is not None:
        ask, look = queries[:, :, None], keys[:, None, :]
        # Padding sees everything, since a row of the mask that is empty would give NaN.
        seen = ((look <= ask) & (ask < end[keys][:, None, :]) & (look >= 0)) | (ask < 0)
        mask = _additive(torch.from_numpy(seen[:, None]).to(device), dtype=dtype)
    # Padding on the right of a root is hidden from its tokens by causality. It is a token of the same row: where that
    # is not finite, a weight of 0 does not keep it out.
    first = queries[:, :1]
    return _Piece(
        torch.from_numpy(np.where(queries < 0, first, queries).ravel()).to(device),
        torch.from_numpy(np.where(looked < 0, first, looked).ravel()).to(device),
        (len(queries), queries.shape[1], looked.shape[1]),
        mask,
    )


def _attend_piece(
    piece: _Piece, query: Tensor, key: Tensor, value: Tensor, *, scaling: float, dropout: float
) -> Tensor:
    """[P, Q, heads, D]."""
    num_pieces, num_queries, num_keys = piece.shape
    groups = query.shape[1] // key.shape[1]
    asked = _gathered(query, piece.query_at, num_pieces=num_pieces, length=num_queries)
    looked, taken = (
        repeat_kv(_gathered(part, piece.key_at, num_pieces=num_pieces, length=num_keys), groups)
        for part in (key, value)
    )
    # Under autocast queries come in another dtype than the weights have.
    mask = None if piece.mask is None else piece.mask.to(asked)
    result = functional.scaled_dot_product_attention(
        asked, looked, taken, attn_mask=mask, dropout_p=dropout, is_causal=mask is None, scale=scaling
    )
    return result.transpose(1, 2)


def _gathered(part: Tensor, at: Tensor, *, num_pieces: int, length: int) -> Tensor:
    """[N, heads, D] to [P, heads, length, D]."""
    # Layers may lie on several devices, the indices on the first.
    return part.index_select(0, at.to(part.device)).view(num_pieces, length, *part.shape[1:]).transpose(1, 2)


def _additive(seen: Tensor, *, dtype: torch.dtype) -> Tensor:
    """0 where `seen`, else the lowest number of `dtype`."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, torch.finfo(dtype).min)
