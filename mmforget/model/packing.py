"""Which tokens stand where: plain rows, one sequence each, or packed rows in which branches share a prefix.

A packed row is `[prefix | branch 1 | branch 2 | ...]`. Positions restart at the end of the prefix for every branch, and
a branch sees the prefix and itself only, so each token gets the numbers it would get in a row of its own. All indices
are built with numpy, without a loop over tokens.

Shapes: R rows, L tokens of the longest row, N scored tokens, M image tokens, B sequences, T longest answer.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mmforget.model.encode import Encoded

Ints = NDArray[np.int64]

MAX_ROW_TOKENS = 2048
"""A group's branches fill a row up to here; more would spend the time on masked attention."""
MIN_SHARED = 0.2
"""Share of a group's tokens that packing has to save for it to be worth a dense mask."""


class Row(NamedTuple):
    """Sequences computed in one row: the first `num_prefix` tokens of `members[0]`, then the rest of each."""

    num_prefix: int
    members: tuple[int, ...]
    length: int


class Layout(NamedTuple):
    """Where everything of one batch of rows is.

    Attributes:
        ids: [R, L] token ids, 0 where padded.
        positions: [R, L] position of each token in its own sequence.
        branch: [R, L] 0 for the prefix, k for branch k, -1 where padded.
        is_packed: whether any row holds more than one sequence.
        image_at: [M] place in R * L of each image token.
        image_key: the image of each run of image tokens, and
        image_start, image_count: which of its features those are.
        predictor: [N] place in R * L of the token that predicts a scored one.
        target: [N] the scored token ids.
        slot: [N] place in B * T where the score goes.
    """

    ids: Ints
    positions: Ints
    branch: Ints
    is_packed: bool
    image_at: Ints
    image_key: list[str]
    image_start: list[int]
    image_count: list[int]
    predictor: Ints
    target: Ints
    slot: Ints


def plain_rows(encoded: Sequence[Encoded]) -> list[Row]:
    """One sequence a row."""
    return [Row(0, (index,), len(one)) for index, one in enumerate(encoded)]


def packed_rows(encoded: Sequence[Encoded]) -> list[Row]:
    """Sequences about the same images, or behind the same context, share a row where that saves enough tokens."""
    groups: dict[Hashable, list[int]] = {}
    for index, one in enumerate(encoded):
        groups.setdefault(one.image_keys or one.ids[: one.num_context], []).append(index)
    rows: list[Row] = []
    for members in groups.values():
        rows += _pack(encoded, members)
    return rows


def batches(rows: Sequence[Row], *, max_tokens: int) -> list[list[Row]]:
    """Rows of similar length together, at most `max_tokens` a batch, padding included (or one row)."""
    found: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: -row.length):
        if found and (len(found[-1]) + 1) * found[-1][0].length <= max_tokens:
            found[-1].append(row)
        else:
            found.append([row])
    return found


def lay_out(encoded: Sequence[Encoded], rows: Sequence[Row], *, first: Sequence[int], width: int) -> Layout:
    """Builds the index arrays of one batch of rows.

    Args:
        first: for each sequence the position of the first token to score, at least 1.
        width: T of the padded result.
    """
    length = max(row.length for row in rows)
    pieces = _pieces(encoded, rows)
    starts = pieces.row * length + pieces.offset
    place = _runs(starts, pieces.size)
    source = _runs(pieces.start, pieces.size)
    size = len(rows) * length
    ids, positions, branch = np.zeros(size, np.int64), np.zeros(size, np.int64), np.full(size, -1, np.int64)
    ids[place] = np.concatenate(
        [encoded[k].array[a : a + n] for k, a, n in zip(pieces.member, pieces.start, pieces.size, strict=True)]
    )
    positions[place] = source
    branch[place] = np.repeat(pieces.branch, pieces.size)
    shape = (len(rows), length)
    scored = _scored(encoded, rows, pieces=pieces, starts=starts, first=first, width=width)
    return Layout(
        ids.reshape(shape),
        positions.reshape(shape),
        branch.reshape(shape),
        any(len(row.members) > 1 for row in rows),
        *_images(encoded, pieces=pieces, starts=starts),
        *scored,
    )


class _Pieces(NamedTuple):
    """Runs of tokens copied into rows: a prefix, or what is left of a sequence behind it. All arrays [pieces]."""

    row: Ints
    member: list[int]
    branch: Ints
    start: Ints
    size: Ints
    offset: Ints


def _pieces(encoded: Sequence[Encoded], rows: Sequence[Row]) -> _Pieces:
    found: list[tuple[int, int, int, int, int, int]] = []
    for number, row in enumerate(rows):
        if row.num_prefix:
            found.append((number, row.members[0], 0, 0, row.num_prefix, 0))
        offset = row.num_prefix
        for branch, member in enumerate(row.members, start=1):
            count = len(encoded[member]) - row.num_prefix
            found.append((number, member, branch, row.num_prefix, count, offset))
            offset += count
    columns = np.asarray(found, dtype=np.int64).T
    return _Pieces(columns[0], columns[1].tolist(), *columns[2:])


def _scored(
    encoded: Sequence[Encoded],
    rows: Sequence[Row],
    *,
    pieces: _Pieces,
    starts: Ints,
    first: Sequence[int],
    width: int,
) -> tuple[Ints, Ints, Ints]:
    """Predictors, targets and slots of the scored tokens of all sequences in these rows."""
    is_branch = pieces.branch > 0
    members = [member for member, wanted in zip(pieces.member, is_branch, strict=True) if wanted]
    begin = np.asarray([first[member] for member in members], dtype=np.int64)
    count = np.asarray([len(encoded[member]) for member in members], dtype=np.int64) - begin
    position = _runs(begin, count) - 1
    num_prefix, own = pieces.start[is_branch], starts[is_branch]
    row_start = (starts - pieces.offset)[is_branch]
    in_prefix = np.repeat(row_start, count) + position
    in_branch = np.repeat(own - num_prefix, count) + position
    predictor = np.where(position < np.repeat(num_prefix, count), in_prefix, in_branch)
    target = np.concatenate([encoded[member].array[first[member] :] for member in members])
    slot = _runs(np.asarray(members, dtype=np.int64) * width, count)
    return predictor, target, slot


def _images(
    encoded: Sequence[Encoded], *, pieces: _Pieces, starts: Ints
) -> tuple[Ints, list[str], list[int], list[int]]:
    """Places of the image tokens in all pieces, and which features of which image they take."""
    places: list[Ints] = []
    keys: list[str] = []
    begins: list[int] = []
    counts: list[int] = []
    bounds = zip(pieces.member, pieces.start.tolist(), pieces.size.tolist(), starts.tolist(), strict=True)
    for member, start, count, at in bounds:
        one = encoded[member]
        if not one.image_at or one.image_at[-1] < start:
            continue
        low, high = np.searchsorted(one.image_positions, (start, start + count))
        places.append(one.image_positions[low:high] + (at - start))
        for key, begin, size in zip(one.image_keys, _cumulative(one.image_sizes), one.image_sizes, strict=True):
            left, right = max(begin, int(low)), min(begin + size, int(high))
            if left < right:
                keys.append(key)
                begins.append(left - begin)
                counts.append(right - left)
    return np.concatenate(places) if places else np.zeros(0, np.int64), keys, begins, counts


def _pack(encoded: Sequence[Encoded], members: list[int]) -> list[Row]:
    shared = _num_shared([encoded[member].array for member in members])
    total = sum(len(encoded[member]) for member in members)
    if shared * (len(members) - 1) < MIN_SHARED * total:
        return [Row(0, (member,), len(encoded[member])) for member in members]
    rows: list[Row] = []
    taken: list[int] = []
    length = shared
    for member in members:
        own = len(encoded[member]) - shared
        if taken and length + own > MAX_ROW_TOKENS:
            rows.append(Row(shared, tuple(taken), length))
            taken, length = [], shared
        taken.append(member)
        length += own
    return [*rows, Row(shared, tuple(taken), length)]


def _num_shared(arrays: Sequence[Ints]) -> int:
    """Length of the longest common beginning."""
    shared = arrays[0]
    for other in arrays[1:]:
        length = min(len(shared), len(other))
        differs = np.flatnonzero(shared[:length] != other[:length])
        shared = shared[: differs[0] if differs.size else length]
    return len(shared)


def _runs(starts: Ints, counts: Ints) -> Ints:
    """`start, start + 1, ...` for `count` numbers, for each pair in turn."""
    ends = np.cumsum(counts)
    numbers: Ints = np.arange(ends[-1] if ends.size else 0, dtype=np.int64)
    numbers += np.repeat(starts - (ends - counts), counts)
    return numbers


def _cumulative(sizes: Sequence[int]) -> list[int]:
    return [sum(sizes[:index]) for index in range(len(sizes))]
