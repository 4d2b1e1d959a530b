"""Which requests are computed together: those about one picture in one row, as many rows as memory allows.

Batches depend on the requests alone, never on what the cache already holds, so an interrupted run that continues
computes the same batches and gets the same numbers to the last bit.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

from mmforget.model.encode import Encoded
from mmforget.model.packing import batches, packed_rows, padded_batches, plain_rows

MIN_BATCH_TOKENS = 4096
"""Requests share a batch up to here, however small the batch size: no model minds so few."""


class Batches(NamedTuple):
    """Indices of the requests of each batch, and how many tokens one forward pass may take."""

    indices: list[list[int]]
    max_tokens: int


def score_batches(encoded: Sequence[Encoded], *, batch_size: int, packed: bool) -> Batches:
    """Every request in exactly one batch, those that share tokens together as far as a batch goes.

    A batch has no more distinct tokens (or, where nothing is shared, tokens with padding) than `batch_size` requests
    of the longest length have together.
    """
    longest = max((len(one) for one in encoded), default=0)
    if packed:
        budget = max(batch_size * longest, MIN_BATCH_TOKENS)
        planned = batches(packed_rows(encoded, max_tokens=budget), max_tokens=budget)
    else:
        budget = batch_size * longest
        planned = padded_batches(plain_rows(encoded), max_tokens=budget)
    return Batches([[index for row in rows for index in row.members] for rows in planned], budget)


def group_indices(groups: Sequence[Hashable]) -> list[list[int]]:
    """Indices by equal group, in order of first appearance; those whose group is None stay alone."""
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(("alone", index) if group is None else ("group", group), []).append(index)
    return list(members.values())


def chunks(indices: Sequence[int], *, size: int) -> list[list[int]]:
    """Consecutive parts of at most `size`."""
    return [list(indices[start : start + size]) for start in range(0, len(indices), size)]
