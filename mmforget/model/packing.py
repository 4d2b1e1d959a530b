"""Which tokens stand where: sequences that begin alike become one tree, computed once, laid out without padding.

The sequences about one image are sorted, so that neighbours share the longest beginnings; what each adds to the one
before it is a run of new tokens. Runs stand one behind the other in depth-first order, so the tokens below a token are
the ones that follow it, up to `end`: token j is seen by token i exactly where j <= i < end[j]. Positions are those of
each token in its own sequence. All indices are built with numpy, without a loop over tokens.

Shapes: N tokens of all rows, S scored tokens, U places that predict one, M image tokens, B sequences, T longest answer.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mmforget.model.encode import Encoded

Ints = NDArray[np.int64]

MIN_SHARED = 0.05
"""Share of a sequence's tokens that it must have in common with its neighbour to stand in the same row."""


class PackedRow(NamedTuple):
    """Sequences computed in one row, sorted by their tokens.

    Attributes:
        members: the sequences.
        shared: for each the number of tokens that it has in common with the one before; 0 for the first.
        num_tokens: distinct tokens of the row.
    """

    members: tuple[int, ...]
    shared: tuple[int, ...]
    num_tokens: int


class Layout(NamedTuple):
    """Where everything of one batch of rows is. A place is an index into the flattened rows.

    Attributes:
        ids: [N] flat, or [rows, longest] padded on the right with 0.
        positions: [axes, *ids.shape] position of each token in its own sequence; three axes for M-RoPE, else one.
        is_token: of ids' shape, False where padded.
        row_start: [rows + 1] where each row starts in the flat order, and where the last one ends.
        num_root: [rows] tokens that all sequences of a row share.
        end: [N] in the flat order, the place behind the last token that sees this one.
        image_at: [M] place of each image token.
        image_key: the image of each run of image tokens, and
        image_start, image_count: which of its features those are.
        predictor: [U] places of the tokens that predict a scored one, each once.
        scored_by: [S] which of these predicts the scored token.
        target: [S] the scored token ids.
        slot: [S] place in B * T where the score goes.
        is_flat: whether the rows share tokens and lie one behind the other.
        edit: of ids' shape, the edit that each place is computed under, -1 for none; None where there is none at all.
            A padded place belongs to the edit of its row where a row of that edit is as long.
    """

    ids: Ints
    positions: Ints
    is_token: NDArray[np.bool_]
    row_start: Ints
    num_root: Ints
    end: Ints
    image_at: Ints
    image_key: list[str]
    image_start: list[int]
    image_count: list[int]
    predictor: Ints
    scored_by: Ints
    target: Ints
    slot: Ints
    is_flat: bool
    edit: Ints | None = None


def plain_rows(encoded: Sequence[Encoded]) -> list[PackedRow]:
    """One sequence a row."""
    return [PackedRow((index,), (0,), len(one)) for index, one in enumerate(encoded)]


def packed_rows(encoded: Sequence[Encoded], *, max_tokens: int) -> list[PackedRow]:
    """Sequences about the same images share rows of at most `max_tokens` distinct tokens, in order of first appearance.

    So do texts without images, as far as they begin alike. Sequences under different edits share nothing.
    """
    groups: dict[Hashable, list[int]] = {}
    for index, one in enumerate(encoded):
        groups.setdefault((one.edit, one.image_keys), []).append(index)
    rows: list[PackedRow] = []
    for members in groups.values():
        rows += _pack(encoded, members, max_tokens=max_tokens)
    return rows


def batches(rows: Sequence[PackedRow], *, max_tokens: int) -> list[list[PackedRow]]:
    """Rows in order, at most `max_tokens` distinct tokens a batch (or one row)."""
    found: list[list[PackedRow]] = []
    room = 0
    for row in rows:
        if row.num_tokens > room:
            found.append([])
            room = max_tokens
        found[-1].append(row)
        room -= row.num_tokens
    return found


def padded_batches(rows: Sequence[PackedRow], *, max_tokens: int) -> list[list[PackedRow]]:
    """Rows of similar length together, at most `max_tokens` a batch, padding included (or one row)."""
    found: list[list[PackedRow]] = []
    for row in sorted(rows, key=lambda row: -row.num_tokens):
        if found and (len(found[-1]) + 1) * found[-1][0].num_tokens <= max_tokens:
            found[-1].append(row)
        else:
            found.append([row])
    return found


def lay_out(
    encoded: Sequence[Encoded], rows: Sequence[PackedRow], *, first: Sequence[int], width: int, flat: bool = True
) -> Layout:
    """Builds the index arrays of one batch of rows.

    Args:
        first: for each sequence the position of the first token to score, at least 1.
        width: T of the padded result.
        flat: rows one behind the other; False pads each to the longest.
    """
    runs = _runs_of(encoded, rows)
    counts = np.asarray([row.num_tokens for row in rows], dtype=np.int64)
    row_start = np.concatenate([[0], np.cumsum(counts)])
    shape = (1, int(row_start[-1])) if flat else (len(rows), int(counts.max()))
    moved = np.zeros_like(counts) if flat else np.arange(len(rows)) * shape[1] - row_start[:-1]
    starts = runs.place + moved[runs.row]
    place = _ranges(starts, runs.size)
    arrays = [encoded[member] for member in runs.member]
    spans = list(zip(arrays, runs.start.tolist(), (runs.start + runs.size).tolist(), strict=True))
    ids, is_token = np.zeros(shape, np.int64), np.zeros(shape, np.bool_)
    ids.flat[place] = np.concatenate([one.array[a:b] for one, a, b in spans])
    is_token.flat[place] = True
    axes = max(len(one.positions) for one in arrays)
    positions = np.zeros((axes, *shape), np.int64)
    positions.reshape(axes, -1)[:, place] = np.concatenate(
        [np.broadcast_to(one.positions[:, a:b], (axes, b - a)) for one, a, b in spans], axis=1
    )
    return Layout(
        ids,
        positions,
        is_token,
        row_start,
        np.asarray([_num_root(row) for row in rows], dtype=np.int64),
        np.repeat(runs.end, runs.size),
        *_images(encoded, runs=runs, starts=starts),
        *_scored(encoded, rows, runs=runs, starts=starts, first=first, width=width),
        flat,
        _edits(encoded, rows, shape=shape),
    )


def _edits(encoded: Sequence[Encoded], rows: Sequence[PackedRow], *, shape: tuple[int, int]) -> Ints | None:
    """The edit of each place, a row's being that of its members."""
    of_row = [encoded[row.members[0]].edit for row in rows]
    if all(edit is None for edit in of_row):
        return None
    numbers = [-1 if edit is None else edit for edit in of_row]
    if shape[0] != len(rows) or len(rows) == 1:
        return np.repeat(numbers, [row.num_tokens for row in rows]).reshape(shape)
    longest: dict[int, int] = {}
    for number, row in zip(numbers, rows, strict=True):
        longest[number] = max(longest.get(number, 0), row.num_tokens)
    found = np.full(shape, -1, dtype=np.int64)
    for place, number in enumerate(numbers):
        found[place, : longest[number]] = number
    return found


def sequence_places(encoded: Sequence[Encoded], rows: Sequence[PackedRow]) -> list[Ints]:
    """The place of each token of each sequence in the flat order, in the order of the rows' members."""
    runs = _runs_of(encoded, rows)
    found: list[Ints] = []
    for member in (member for row in rows for member in row.members):
        spans = _path_spans(member, runs=runs, begin=0, stop=len(encoded[member]))
        columns = np.asarray([(runs.place[run], count) for run, _, count in spans], dtype=np.int64)
        found.append(_ranges(columns[:, 0], columns[:, 1]))
    return found


class _Runs(NamedTuple):
    """What each sequence adds to its row, in the flat order. All arrays [runs].

    A run is cut where a later sequence branches off, so that all tokens of one run are seen by the same tokens.

    Attributes:
        row, member: whose tokens they are.
        start, size: which of the member's tokens.
        place: where the run starts in the flat order.
        end: the place behind the last token that sees the run.
        last: the last run on the path of each member, by member.
        parent: the run before it on the path from the root; -1 for the first of a row.
    """

    row: Ints
    member: list[int]
    start: Ints
    size: Ints
    place: Ints
    end: Ints
    last: dict[int, int]
    parent: list[int]


def _runs_of(encoded: Sequence[Encoded], rows: Sequence[PackedRow]) -> _Runs:
    found: list[list[int]] = []
    members: list[int] = []
    last: dict[int, int] = {}
    parent: list[int] = []
    place = 0
    for number, row in enumerate(rows):
        path: list[int] = []  # runs from the root to where we are
        cuts = _cuts(row)
        for index, (member, shared) in enumerate(zip(row.members, row.shared, strict=True)):
            while path and found[path[-1]][1] + found[path[-1]][2] > shared:
                found[path.pop()][4] = place
            start = shared
            for stop in [*(cut for cut in cuts[index] if cut > start), len(encoded[member])]:
                if stop == start:
                    continue
                parent.append(path[-1] if path else -1)
                path.append(len(found))
                found.append([number, start, stop - start, place, 0])
                members.append(member)
                place += stop - start
                start = stop
            last[member] = path[-1]
        for run in path:
            found[run][4] = place
    columns = np.asarray(found, dtype=np.int64).T
    row_of, starts, sizes, places, ends = columns
    return _Runs(row_of, members, starts, sizes, places, ends, last, parent)


def _cuts(row: PackedRow) -> list[list[int]]:
    """For each member the lengths, in ascending order, at which later members branch off its own new tokens."""
    cuts: list[list[int]] = [[] for _ in row.members]
    owners: list[tuple[int, int]] = []  # (member's index, tokens it shares with those before it), innermost last
    for index, shared in enumerate(row.shared):
        while owners and owners[-1][1] >= shared:
            owners.pop()
        if owners:
            cuts[owners[-1][0]].append(shared)
        owners.append((index, shared))
    return [sorted(set(found)) for found in cuts]


def _scored(
    encoded: Sequence[Encoded],
    rows: Sequence[PackedRow],
    *,
    runs: _Runs,
    starts: Ints,
    first: Sequence[int],
    width: int,
) -> tuple[Ints, Ints, Ints, Ints]:
    """Predictors, which of them predicts what, targets and slots of the scored tokens of these rows' sequences."""
    members = [member for row in rows for member in row.members]
    begins, counts = list[int](), list[int]()
    for member in members:
        spans = _path_spans(member, runs=runs, begin=first[member] - 1, stop=len(encoded[member]) - 1)
        begins += [int(starts[run]) + low for run, low, _ in spans]
        counts += [count for _, _, count in spans]
    places = _ranges(np.asarray(begins, dtype=np.int64), np.asarray(counts, dtype=np.int64))
    target = np.concatenate([encoded[member].targets[first[member] :] for member in members])
    num_scored = np.asarray([len(encoded[member]) - first[member] for member in members], dtype=np.int64)
    slot = _ranges(np.asarray(members, dtype=np.int64) * width, num_scored)
    predictor, scored_by = np.unique(places, return_inverse=True)
    order = np.argsort(scored_by, kind="stable")
    return predictor, scored_by[order], target[order], slot[order]


def _path_spans(member: int, *, runs: _Runs, begin: int, stop: int) -> list[tuple[int, int, int]]:
    """(run, first token in it, count) of the member's tokens `begin` to `stop`, in their order."""
    spans: list[tuple[int, int, int]] = []
    run = runs.last[member]
    while run >= 0 and stop > begin:
        start = int(runs.start[run])
        low = max(begin, start)
        if low < stop:
            spans.append((run, low - start, stop - low))
            stop = low
        run = runs.parent[run]
    return spans[::-1]


def _images(encoded: Sequence[Encoded], *, runs: _Runs, starts: Ints) -> tuple[Ints, list[str], list[int], list[int]]:
    """Places of the image tokens in all runs, and which features of which image they take."""
    places: list[Ints] = []
    keys: list[str] = []
    begins: list[int] = []
    counts: list[int] = []
    bounds = zip(runs.member, runs.start.tolist(), runs.size.tolist(), starts.tolist(), strict=True)
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


def _pack(encoded: Sequence[Encoded], members: list[int], *, max_tokens: int) -> list[PackedRow]:
    """Rows of one group: sorted by tokens, each as full as allowed, and none that would share next to nothing."""
    if len(members) > 1:
        members = sorted(members, key=lambda member: encoded[member].ids)
    rows: list[PackedRow] = []
    taken: list[int] = []
    shared: list[int] = []
    room = 0
    for member in members:
        common = _num_common(encoded[taken[-1]].array, encoded[member].array) if taken else 0
        own = len(encoded[member]) - common
        if taken and (own > room or common < MIN_SHARED * len(encoded[member])):
            rows.append(PackedRow(tuple(taken), tuple(shared), max_tokens - room))
            taken, shared = [], []
        if not taken:
            common, own, room = 0, len(encoded[member]), max_tokens
        taken.append(member)
        shared.append(common)
        room -= own
    return [*rows, PackedRow(tuple(taken), tuple(shared), max_tokens - room)]


def _num_root(row: PackedRow) -> int:
    """Tokens that all sequences of a row begin with."""
    return min(row.shared[1:]) if len(row.shared) > 1 else row.num_tokens


def _num_common(one: Ints, other: Ints) -> int:
    """Length of the common beginning."""
    length = min(len(one), len(other))
    differs = one[:length] != other[:length]
    at = int(differs.argmax()) if length else 0
    return at if length and differs[at] else length


def _ranges(starts: Ints, counts: Ints) -> Ints:
    """`start, start + 1, ...` for `count` numbers, for each pair in turn."""
    ends = np.cumsum(counts)
    numbers: Ints = np.arange(ends[-1] if ends.size else 0, dtype=np.int64)
    numbers += np.repeat(starts - (ends - counts), counts)
    return numbers


def _cumulative(sizes: Sequence[int]) -> list[int]:
    return [sum(sizes[:index]) for index in range(len(sizes))]
