"""Which requests are computed together: those about one picture in one packed row, as many rows as memory allows.

Batches depend on the requests alone, never on what the cache already holds, so an interrupted run that continues
computes the same batches and gets the same numbers to the last bit.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from os.path import commonprefix
from typing import NamedTuple

from mmforget.model.packing import MAX_ROW_TOKENS

MIN_BATCH_TOKENS = 2048
"""The questions about one picture share a row up to here, however small the batch size: no model minds so few."""


class Batches(NamedTuple):
    """Indices of the requests of each batch, and how many tokens, padding included, one batch may take."""

    indices: list[list[int]]
    max_tokens: int


def score_batches(token_ids: Sequence[Sequence[int]], *, groups: Sequence[Hashable], batch_size: int) -> Batches:
    """Every request in exactly one batch, those of one group together as far as a batch goes.

    Requests of one group share a row and the tokens they begin with; a group too large for a row is split over several.
    A batch has at most `batch_size` rows, and no more tokens than that many requests of the longest length would take.

    Args:
        token_ids: prompt and answer tokens of each request.
        groups: what each request may share a row with, e.g. its images; None never shares.
        batch_size: plain requests that fit in memory, at least 1.
    """
    longest = max((len(ids) for ids in token_ids), default=0)
    budget = max(batch_size * longest, MIN_BATCH_TOKENS)
    limit = min(budget, max(MAX_ROW_TOKENS, longest))
    rows = [row for members in group_indices(groups) for row in _split(members, token_ids=token_ids, limit=limit)]
    lengths = {id(row): _row_length(row, token_ids=token_ids) for row in rows}
    batches: list[list[list[int]]] = []
    for row in sorted(rows, key=lambda row: -lengths[id(row)]):
        open_batch = batches[-1] if batches else None
        if open_batch is None or not _fits(
            len(open_batch), longest=lengths[id(open_batch[0])], budget=budget, batch_size=batch_size
        ):
            batches.append([row])
        else:
            open_batch.append(row)
    return Batches([[index for row in batch for index in row] for batch in batches], budget)


def group_indices(groups: Sequence[Hashable]) -> list[list[int]]:
    """Indices by equal group, in order of first appearance; those whose group is None stay alone."""
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(("alone", index) if group is None else ("group", group), []).append(index)
    return list(members.values())


def chunks(indices: Sequence[int], *, size: int) -> list[list[int]]:
    """Consecutive parts of at most `size`."""
    return [list(indices[start : start + size]) for start in range(0, len(indices), size)]


def _split(members: list[int], *, token_ids: Sequence[Sequence[int]], limit: int) -> list[list[int]]:
    """Parts of one group whose packed rows each hold at most `limit` tokens."""
    shared = _shared_length(members, token_ids=token_ids)
    rows: list[list[int]] = [[]]
    length = shared
    for index in members:
        own = len(token_ids[index]) - shared
        if rows[-1] and length + own > limit:
            rows.append([])
            length = shared
        rows[-1].append(index)
        length += own
    return rows


def _shared_length(members: Sequence[int], *, token_ids: Sequence[Sequence[int]]) -> int:
    if len(members) == 1:
        return 0
    return len(commonprefix([list(token_ids[index]) for index in members]))


def _row_length(row: Sequence[int], *, token_ids: Sequence[Sequence[int]]) -> int:
    shared = _shared_length(row, token_ids=token_ids)
    return shared + sum(len(token_ids[index]) - shared for index in row)


def _fits(num_rows: int, *, longest: int, budget: int, batch_size: int) -> bool:
    return num_rows < batch_size and (num_rows + 1) * longest <= budget
