"""How alike two models' representations of the same rows are, and how that changes without each subject.

Shapes: n rows in one order, D and E widths of the two representations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mmforget.types import Replicates

Floats = NDArray[np.float64]
Places = NDArray[np.intp]
MIN_ROWS = 4
"""The unbiased estimator divides by n - 3."""


def gram(states: Floats) -> Floats:
    """Inner products [n, n] of rows [n, D]."""
    found: Floats = states @ states.T
    return found


def linear_cka(first: Floats, second: Floats, *, debiased: bool) -> float | None:
    """Linear centred kernel alignment of two Gram matrices [n, n]; None where one of them says nothing.

    HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), with HSIC = tr(K H L H) for centring H (Kornblith et al. 2019,
    arXiv 1905.00414), in [0, 1]. `debiased`: with the unbiased estimator of HSIC (Song et al. 2012), which is the inner
    product of U-centred matrices without their diagonals, in [-1, 1]; it needs at least `MIN_ROWS`.
    """
    if len(first) < (MIN_ROWS if debiased else 2):
        return None
    one, two = (_u_centred(gram) if debiased else _centred(gram) for gram in (first, second))
    norms = float((one * one).sum()), float((two * two).sum())
    # What is left of equal rows after centring is rounding.
    scales = (float((gram * gram).sum()) for gram in (first, second))
    if any(norm <= 1e-20 * scale or norm == 0.0 for norm, scale in zip(norms, scales, strict=True)):
        return None
    value = float((one * two).sum()) / math.sqrt(norms[0]) / math.sqrt(norms[1])
    return min(1.0, max(-1.0 if debiased else 0.0, value))


def _centred(gram: Floats) -> Floats:
    means = gram.mean(axis=0)
    found: Floats = gram - means[None, :] - means[:, None] + means.mean()
    return found


def _u_centred(gram: Floats) -> Floats:
    """Of the matrix with a diagonal of zeros: rows and columns sum to 0, and the diagonal stays 0."""
    num, inner = len(gram), gram.copy()
    np.fill_diagonal(inner, 0.0)
    sums = inner.sum(axis=0)
    found: Floats = inner - (sums[None, :] + sums[:, None]) / (num - 2) + sums.sum() / ((num - 1) * (num - 2))
    np.fill_diagonal(found, 0.0)
    return found


def neighbours(states: Floats, *, num: int) -> Places:
    """Of each row the `num` others [n, num] of the largest cosine; of equal ones the first."""
    lengths = np.linalg.norm(states, axis=1, keepdims=True)
    unit = states / np.where(lengths > 0.0, lengths, 1.0)
    # Cosines that differ by rounding alone are equal, so that a rotation changes no neighbours.
    cosines = np.round(unit @ unit.T, 6)
    np.fill_diagonal(cosines, -np.inf)
    found: Places = np.argsort(-cosines, axis=1, kind="stable")[:, :num]
    return found


def neighbour_overlap(first: Floats, second: Floats, *, num: int) -> Floats:
    """Of each row which share [n] of its `num` nearest rows is the same in both representations [n, D] and [n, E]."""
    pairs = zip(neighbours(first, num=num), neighbours(second, num=num), strict=True)
    return np.array([len(set(one) & set(two)) / num for one, two in pairs])


def without_each(compute: Callable[[Places], float | None], subjects: Sequence[str]) -> Replicates | None:
    """A number of a whole set of rows, and what it is without each subject; None where it has no value.

    Args:
        compute: the number of the rows at these places, None where they say nothing; then leaving out changes nothing.
    """
    every, names = np.arange(len(subjects)), np.asarray(subjects)
    value = compute(every)
    if value is None:
        return None
    found, sizes = np.unique(names, return_counts=True)
    if len(found) < 2:
        return Replicates(value, len(found))
    scale = math.sqrt((len(found) - 1) / len(found))
    left = {str(name): compute(every[names != name]) for name in found}
    degrees = max(1.0, float(sizes.sum() ** 2 / (sizes**2).sum()) - 1.0)
    return Replicates(
        value,
        len(found),
        shifts={name: _moved(one, value) * scale for name, one in left.items()},
        degrees=dict.fromkeys(left, degrees),
    )


def _moved(found: float | None, value: float) -> float:
    """By how much a value moves; what rounding alone moves is none."""
    moved = 0.0 if found is None else found - value
    return moved if abs(moved) > 1e-9 else 0.0
