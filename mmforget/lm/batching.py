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
        order = _by_picture(encoded)
        budget = max(batch_size * longest, MIN_BATCH_TOKENS)
        planned = batches(packed_rows([encoded[index] for index in order], max_tokens=budget), max_tokens=budget)
    else:
        order = list(range(len(encoded)))
        budget = batch_size * longest
        planned = padded_batches(plain_rows(encoded), max_tokens=budget)
    return Batches([[order[member] for row in rows for member in row.members] for rows in planned], budget)


def _by_picture(encoded: Sequence[Encoded]) -> list[int]:
    """Indices of the requests, those about the same pictures together: below all edits what is computed is one."""
    return [index for group in group_indices([one.image_keys for one in encoded]) for index in group]


def generation_batches(
    prompts: Sequence[Encoded], *, max_new_tokens: int, batch_size: int, packed: bool
) -> list[list[int]]:
    """Indices of the prompts of each batch: every prompt in exactly one, those about one image together.

    A packed batch has no more distinct prompt tokens and new ones than `batch_size` prompts of the longest length have
    with theirs; where nothing is shared it has `batch_size` prompts.
    """
    if not packed:
        return chunks(_by_picture(prompts), size=batch_size)
    longest = max((len(prompt) for prompt in prompts), default=0)
    budget = max(batch_size * (longest + max_new_tokens), MIN_BATCH_TOKENS)
    found: list[list[int]] = []
    room, order = 0, _by_picture(prompts)
    for row in packed_rows([prompts[index] for index in order], max_tokens=budget):
        if row.num_tokens + len(row.members) * max_new_tokens > room:
            found.append([])
            room = budget
        for member, shared in zip(row.members, row.shared, strict=True):
            member = order[member]
            needed = len(prompts[member]) - shared + max_new_tokens
            if needed > room:
                # The first prompt of a batch shares nothing with those before it.
                found.append([])
                room, needed = budget, len(prompts[member]) + max_new_tokens
            found[-1].append(member)
            room -= needed
    return found


def group_indices(groups: Sequence[Hashable]) -> list[list[int]]:
    """Indices by equal group, in order of first appearance."""
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    return list(members.values())


def chunks(indices: Sequence[int], *, size: int) -> list[list[int]]:
    """Consecutive parts of at most `size`."""
    return [list(indices[start : start + size]) for start in range(0, len(indices), size)]
