"""The rows of a micro-batch divided among processes, and their scores put together again.

Every process scores its share with gradients and is told the scores of the others, which are constants to it. So each
can compute the loss of the whole micro-batch, and what it gets is the gradient by its own rows: summed over the
processes, that is the gradient, whatever the loss makes of the rows together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mmforget import parallel
from mmforget.model.encode import Encoded

Shares = list[tuple[int, ...]]


class RowScores(NamedTuple):
    """What is known of the answers of B rows, each padded on the right to T tokens.

    Attributes:
        mask: bool [B, T], True where a token counts.
        is_greedy: bool [B].
        values: float32 [B, T, ...] each, differentiable, 0 where padded: log-probs, divergences, statistics.
    """

    mask: Tensor
    is_greedy: Tensor
    values: tuple[Tensor, ...]


def score_shared(encoded: Sequence[Encoded], *, score: Callable[[Sequence[Encoded]], RowScores]) -> RowScores:
    """`score(encoded)`, of which this process computes its share; all processes call it with the same rows.

    Gradients flow to this process's rows alone. A process without a row of its own computes one that counts nothing,
    so that every backward pass goes through the model, in all processes alike.
    """
    if parallel.world_size() == 1:
        return score(encoded)
    shares = share_rows(encoded, world=parallel.world_size())
    rank = parallel.rank()
    own = score([encoded[row] for row in shares[rank] or (rank % len(encoded),)])
    told = parallel.gather([value.detach().cpu().numpy() for value in (own.mask, own.is_greedy, *own.values)])
    counted = [values for values, share in zip(told, shares, strict=True) if share]
    order = [row for share in shares for row in share]
    whole = [_whole(parts, order=order) for parts in zip(*counted, strict=True)]
    mask, is_greedy, *values = (torch.from_numpy(part).to(own.mask.device) for part in whole)
    with_own = (_with_own(*pair, rows=shares[rank]) for pair in zip(values, own.values, strict=True))
    return RowScores(mask, is_greedy, tuple(with_own))


def share_rows(encoded: Sequence[Encoded], *, world: int) -> Shares:
    """Which rows each of `world` processes computes: about as much work for each, at least one row while there are any.

    Rows about the same images follow one another, so that at most `world - 1` of these groups are cut.
    """
    groups: dict[Hashable, list[int]] = {}
    for row, one in enumerate(encoded):
        groups.setdefault(one.image_keys, []).append(row)
    left = deque((row, _work(encoded[row], is_first=row == group[0])) for group in groups.values() for row in group)
    shares: Shares = []
    for num_others in reversed(range(world)):
        fair = sum(work for _, work in left) / (num_others + 1)
        share: list[int] = []
        while left and (not share or (len(left) > num_others and left[0][1] / 2 < fair)):
            row, work = left.popleft()
            share.append(row)
            fair -= work
        shares.append(tuple(share))
    return shares


def _work(one: Encoded, *, is_first: bool) -> int:
    """Tokens to compute: an image's only with the first row about it."""
    return len(one) if is_first else len(one) - sum(one.image_sizes)


def _whole(parts: Sequence[NDArray[Any]], *, order: Sequence[int]) -> NDArray[Any]:
    """The parts [B_i, T_i, ...] or [B_i] one behind the other, padded with zeros, each row at its place in `order`."""
    num_tokens = [max(part.shape[1] for part in parts)] if parts[0].ndim > 1 else []
    found = np.zeros((len(order), *num_tokens, *parts[0].shape[2:]), dtype=parts[0].dtype)
    places = iter(order)
    for part in parts:
        for row, place in zip(part, places, strict=False):
            if num_tokens:
                found[place, : len(row)] = row
            else:
                found[place] = row
    return found


def _with_own(whole: Tensor, own: Tensor, *, rows: Sequence[int]) -> Tensor:
    """Values [B, T, ...] of all processes, with this one's rows as they are, so that they carry gradients."""
    if rows:
        padded = functional.pad(own, (*(0, 0) * (own.dim() - 2), 0, whole.shape[1] - own.shape[1]))
        whole = whole.index_copy(0, torch.tensor(rows, device=own.device), padded)
    # Whatever a loss reads of it, the way back leads through this process's part of the model.
    return whole + 0 * own.sum() if own.requires_grad else whole
