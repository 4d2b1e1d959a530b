"""Keys and values of prompts that begin alike, and attention over them while a text grows behind each prompt.

Prompts go through the model once, as flat rows, every distinct token once. What all prompts of a row begin with, its
root, is kept once a row: all of them look at it in one matrix product, and it is never copied. What each prompt has
behind the root stands in a buffer of its own, and new tokens behind that. One softmax goes over both, so this is exact.

    prefill = prefill_of(prompts, rows, layout=layout, seen=tree_rows(layout, ...), max_new_tokens=50, device=device)
    ...                                 # a forward pass over the flat prompts with rows=prefill
    memory = prefill.memory()
    ...                                 # a forward pass over [1, B] tokens a step with rows=NextToken(memory, number)

Shapes: N prompt tokens, B prompts; in a group of rows of similar size R rows, P prompts a row, K tokens of a root, O
tokens behind it, T new tokens; G query heads a key head, D width of a head, V that of a value. What is shorter is
padded: prompts and roots on the right, tokens behind the root on the left, so that new ones of all prompts come in the
same column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmforget.model.packing import Layout, PackedRow, sequence_places

if TYPE_CHECKING:
    from mmforget.model.attention import RowAttention
    from mmforget.model.encode import Encoded

Ints = NDArray[np.int64]


class _Group(NamedTuple):
    """RowAttention of similar size, computed together.

    Attributes:
        members: [R, P] numbers of the prompts, -1 where padded; on the CPU.
        asks: [R * P] the same, with the number of some prompt where padded.
        hidden: bool [R, 1, P, 1, K + O], True where padded; None where nothing is.
        num_own: O.
    """

    members: Ints
    asks: Tensor
    hidden: Tensor | None
    num_own: int


class _Places(NamedTuple):
    """Where the tokens of a group stand among the flat prompts: root [R, K], and own [R, P, O] behind it."""

    root: Tensor
    own: Tensor


class _Kept(NamedTuple):
    """Keys or values of one group in one layer: root [R, key heads, K, D] and own [R, key heads, P, O + T, D]."""

    root: Tensor
    own: Tensor


class _Layer(NamedTuple):
    keys: _Kept
    values: _Kept


@dataclass(frozen=True, eq=False)
class Memory:
    """Keys and values of prompts that are being continued.

    Attributes:
        groups: the rows they stand in.
        layers: what each group keeps in each layer, by layer.
        at: int64 [B], where each prompt's result is among those of all groups.
    """

    groups: tuple[_Group, ...]
    layers: dict[int, list[_Layer]]
    at: Tensor

    def keep(self, numbers: Sequence[int]) -> Memory:
        """The prompts of these numbers alone, numbered anew in this order. Takes what it keeps out of this memory."""
        new = np.full(int(max(group.members.max() for group in self.groups)) + 1, -1)
        new[list(numbers)] = np.arange(len(numbers))
        chosen = [_chosen(group, new=new) for group in self.groups]
        left = [index for index, one in enumerate(chosen) if one.members.size]
        layers = dict[int, list[_Layer]]()
        for layer in list(self.layers):
            found = self.layers.pop(layer)
            layers[layer] = [_Layer(*(_select(kept, chosen[index]) for kept in found[index])) for index in left]
        groups = tuple(_select_group(self.groups[index], chosen[index]) for index in left)
        return Memory(groups, layers, _results_at(groups))


@dataclass(frozen=True, eq=False)
class Prefill:
    """The attention of flat prompts, which keeps their keys and values; make it with `prefill_of`.

    Attributes:
        seen: what each token of the prompts sees.
        last: int64 [B], place of the last token of each prompt.
    """

    seen: RowAttention
    last: Tensor
    groups: tuple[tuple[_Group, _Places], ...]
    max_new_tokens: int
    layers: dict[int, list[_Layer]] = field(default_factory=dict)

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, *, scaling: float, dropout: float
    ) -> Tensor:
        self.put(layer, key, value)
        return self.seen.attend(layer, query, key, value, scaling=scaling, dropout=dropout)

    def put(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Keeps the keys and values [N, heads of keys, D] of one layer."""
        # The last new token is never looked at.
        room = self.max_new_tokens - 1
        self.layers[layer] = [
            _Layer(_kept(key, places, room=room), _kept(value, places, room=room)) for _, places in self.groups
        ]

    def memory(self) -> Memory:
        """What has been kept, once the prompts have gone through all layers."""
        groups = tuple(group for group, _ in self.groups)
        return Memory(groups, self.layers, _results_at(groups))


@dataclass(frozen=True, eq=False)
class NextToken:
    """The attention of one new token a prompt, the `number`-th behind the prompts, from 0; it is kept for those after.

    Made for evaluation: attention weights are not dropped.
    """

    memory: Memory
    number: int

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, *, scaling: float, dropout: float
    ) -> Tensor:
        results = []
        for group, kept in zip(self.memory.groups, self.memory.layers[layer], strict=True):
            parts = [_in_rows(part, group, key_heads=key.shape[1]) for part in (query * scaling, key, value)]
            results.append(_attend(*parts, kept=kept, hidden=group.hidden, column=group.num_own + self.number))
        return torch.cat(results).index_select(0, self.memory.at.to(query.device))


def prefill_of(
    prompts: Sequence[Encoded],
    rows: Sequence[PackedRow],
    *,
    layout: Layout,
    seen: RowAttention,
    max_new_tokens: int,
    device: torch.device,
) -> Prefill:
    """For a flat `layout` of these rows. Prompts are numbered in the order of the rows' members."""
    places = sequence_places(prompts, rows)
    classes: dict[tuple[int, int], list[_Prompts]] = {}
    first = 0
    for row, start, num_root in zip(rows, layout.row_start[:-1].tolist(), layout.num_root.tolist(), strict=True):
        count = len(row.members)
        one = _Prompts(first, start, num_root, [found[num_root:] for found in places[first : first + count]])
        # Sizes of one class differ by less than a factor of two, so that padding costs little.
        classes.setdefault((count.bit_length(), num_root.bit_length()), []).append(one)
        first += count
    groups = [_group(of_class, device=device) for of_class in classes.values()]
    last = torch.from_numpy(np.asarray([found[-1] for found in places], dtype=np.int64))
    return Prefill(seen, last.to(device), tuple(groups), max_new_tokens)


class _Prompts(NamedTuple):
    """Prompts of one row, numbered from `first`: where the root starts, its tokens, places of what is behind it."""

    first: int
    start: int
    num_root: int
    own: list[Ints]


def _group(rows: list[_Prompts], *, device: torch.device) -> tuple[_Group, _Places]:
    num_prompts = max(len(row.own) for row in rows)
    num_root = max(row.num_root for row in rows)
    num_own = max(len(own) for row in rows for own in row.own)
    members = np.full((len(rows), num_prompts), -1, dtype=np.int64)
    root_at = np.full((len(rows), num_root), -1, dtype=np.int64)
    own_at = np.full((len(rows), num_prompts, num_own), -1, dtype=np.int64)
    for index, row in enumerate(rows):
        members[index, : len(row.own)] = np.arange(row.first, row.first + len(row.own))
        root_at[index, : row.num_root] = np.arange(row.start, row.start + row.num_root)
        for number, own in enumerate(row.own):
            own_at[index, number, num_own - len(own) :] = own
    before = np.broadcast_to(root_at[:, None], (len(rows), num_prompts, num_root))
    hidden = np.concatenate([before, own_at], axis=2)[:, None, :, None] < 0
    # Padding takes a real token of the same row: what has never been written, or is another's, may be NaN.
    starts = np.asarray([row.start for row in rows], dtype=np.int64)[:, None]
    filled = (
        members.ravel().clip(0),
        np.where(root_at < 0, starts, root_at),
        np.where(own_at < 0, starts[:, None], own_at),
    )
    asks, roots, behind = (torch.from_numpy(part).to(device) for part in filled)
    mask = torch.from_numpy(hidden).to(device) if hidden.any() else None
    return _Group(members, asks, mask, num_own), _Places(roots, behind)


def _kept(part: Tensor, places: _Places, *, room: int) -> _Kept:
    """What a group keeps of keys or values [N, key heads, D], with room for new ones."""
    num_rows, num_prompts, num_own = places.own.shape
    own = part.new_empty(num_rows, part.shape[1], num_prompts, num_own + room, part.shape[2])
    own[:, :, :, :num_own] = part[places.own.to(part.device)].permute(0, 3, 1, 2, 4)
    return _Kept(part[places.root.to(part.device)].transpose(1, 2).contiguous(), own)


def _in_rows(part: Tensor, group: _Group, *, key_heads: int) -> Tensor:
    """[B, heads, D] to [R, key heads, P, heads / key heads, D]."""
    num_rows, num_prompts = group.members.shape
    # Layers may lie on several devices, the indices on the first.
    chosen = part.index_select(0, group.asks.to(part.device))
    return chosen.view(num_rows, num_prompts, key_heads, -1, part.shape[-1]).transpose(1, 2).contiguous()


def _attend(query: Tensor, key: Tensor, value: Tensor, *, kept: _Layer, hidden: Tensor | None, column: int) -> Tensor:
    """What queries [R, key heads, P, G, D] take from roots, own tokens and these new ones; [R * P, heads, V]."""
    keys, values = kept
    keys.own[:, :, :, column : column + 1], values.own[:, :, :, column : column + 1] = key, value
    own_keys, own_values = keys.own[:, :, :, : column + 1], values.own[:, :, :, : column + 1]
    num_root = keys.root.shape[2]
    to_root = query.flatten(2, 3) @ keys.root.transpose(2, 3)
    scores = torch.cat([to_root.view(*query.shape[:4], num_root), query @ own_keys.transpose(3, 4)], dim=-1)
    if hidden is not None:
        scores[..., : hidden.shape[-1]].masked_fill_(hidden.to(scores.device), -torch.inf)
    weights = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
    from_root = weights[..., :num_root].flatten(2, 3) @ values.root
    found = from_root.view(*query.shape[:4], -1) + weights[..., num_root:] @ own_values
    return found.transpose(1, 2).flatten(2, 3).flatten(0, 1)


class _Chosen(NamedTuple):
    """Prompts of one group that stay: their numbers from now on [R, P], and the row and the column each had."""

    members: Ints
    row: Ints
    column: Ints


def _chosen(group: _Group, *, new: Ints) -> _Chosen:
    """Padded with the first prompt of the row, under the number -1."""
    kept = [np.flatnonzero((row >= 0) & (new[row] >= 0)) for row in group.members]
    rows = [index for index, columns in enumerate(kept) if columns.size]
    shape = (len(rows), max((columns.size for columns in kept), default=0))
    members, column = np.full(shape, -1, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for index, row in enumerate(rows):
        members[index, : kept[row].size] = new[group.members[row, kept[row]]]
        column[index] = kept[row][0]
        column[index, : kept[row].size] = kept[row]
    return _Chosen(members, np.asarray(rows, dtype=np.int64), column)


def _select(kept: _Kept, chosen: _Chosen) -> _Kept:
    row, column = (torch.from_numpy(part).to(kept.own.device) for part in (chosen.row, chosen.column))
    root = kept.root if len(row) == len(kept.root) else kept.root.index_select(0, row)
    return _Kept(root, kept.own[row[:, None], :, column].transpose(1, 2).contiguous())


def _select_group(group: _Group, chosen: _Chosen) -> _Group:
    row, column = (torch.from_numpy(part).to(group.asks.device) for part in (chosen.row, chosen.column))
    hidden = None if group.hidden is None else group.hidden[row[:, None], :, column].transpose(1, 2)
    asks = torch.from_numpy(chosen.members.clip(0).ravel()).to(group.asks.device)
    return _Group(chosen.members, asks, hidden, group.num_own)


def _results_at(groups: Sequence[_Group]) -> Tensor:
    numbers = np.concatenate([group.members.ravel() for group in groups])
    at = np.empty(int(numbers.max()) + 1, dtype=np.int64)
    at[numbers[numbers >= 0]] = np.flatnonzero(numbers >= 0)
    return torch.from_numpy(at).to(groups[0].asks.device)
