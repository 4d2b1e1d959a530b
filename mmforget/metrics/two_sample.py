"""Two-sample statistics with ties, and their replicates without each subject.

N values of the first group and M of the second, of C and D subjects; G distinct values; R random draws.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmforget.statistics.jackknife import (
    LEVEL,
    MIN_SUBJECTS,
    Interval,
    floor_of,
    no_interval,
    student_quantile,
)
from mmforget.types import Replicates, Score

NUM_DRAWS = 500
MAX_GRID = 250

Floats = NDArray[np.float64]


class Group(NamedTuple):
    """Values and the subject of each, aligned."""

    values: list[float]
    subjects: list[str]


def group_of(scores: Sequence[Score]) -> Group:
    """The scored ones among scores."""
    scored = [(score.value, score.subject) for score in scores if score.value is not None]
    return Group([value for value, _ in scored], [subject for _, subject in scored])


def ks_distance_interval(first: Group, second: Group) -> Interval:
    """95 % interval of D by subject; subjects of one name in both groups are one, so that models stay paired.

    D is a largest gap, which chance alone makes larger than it is. Downwards: the highest point of a band that holds
    all gaps at once (sup-t). Upwards: D less what chance adds, plus Student's t times the error of the gap where it is
    largest. What chance adds is what the same chance adds once more, to the gaps that were found (bias by bootstrap:
    Efron and Tibshirani, 1993). The noise has the covariance of delete-one-subject; it is seeded.
    """
    num_subjects = fewest_subjects(first, second)
    if num_subjects < MIN_SUBJECTS:
        return Interval(None, None, no_interval(num_subjects))
    grid = _grid(first, second)
    gaps, moves = _gaps(first, second, grid=grid), _gap_moves(first, second, grid=grid)
    errors = np.sqrt((moves**2).sum(axis=0) + _gap_floor(first, second, grid=grid))
    noise, stretch = _noise(moves, degrees=num_subjects - 1)
    band = np.quantile(stretch * (np.abs(noise) / errors).max(axis=1), (1 + LEVEL) / 2)
    place, value = int(np.abs(gaps).argmax()), float(np.abs(gaps).max())
    excess = max(0.0, float(np.abs(gaps + noise).max(axis=1).mean() - value))
    low = float((np.abs(gaps) - band * errors).max())
    high = value - excess + student_quantile(num_subjects - 1.0) * float(errors[place])
    return Interval(min(value, max(0.0, low)), max(value, min(1.0, high)))


def fewest_subjects(first: Group, second: Group) -> int:
    """Distinct subjects in the smaller group."""
    return min(len(set(first.subjects)), len(set(second.subjects)))


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Area under the ROC curve: chance that a positive scores above a negative, ties counting half (Mann-Whitney)."""
    from scipy.stats import rankdata

    num_positive, num_negative = len(positive), len(negative)
    placed = rankdata([*positive, *negative], method="average")[:num_positive].sum()
    return float((placed - num_positive * (num_positive + 1) / 2) / (num_positive * num_negative))


def auc_replicates(positive: Group, negative: Group) -> Replicates:
    """Replicates of the AUC, every subject left out of its group (Obuchowski, Biometrics 53, 1997, for clusters)."""
    wins, num_one, num_two = _wins(positive, negative)
    value = float(wins.sum() / (num_one.sum() * num_two.sum()))
    sides = [
        _side_shifts(wins.sum(axis=1), sizes=num_one, others=float(num_two.sum()), value=value),
        _side_shifts(wins.sum(axis=0), sizes=num_two, others=float(num_one.sum()), value=value),
    ]
    groups = (positive, negative)
    names = [(side, name) for side, group in enumerate(groups) for name in sorted(set(group.subjects))]
    keys = [f"{side}/{name}" for side, name in names]
    return Replicates(
        value,
        min(len(num_one), len(num_two)),
        shifts=dict(zip(keys, np.concatenate(sides).tolist(), strict=True)),
        degrees=dict.fromkeys(keys, _degrees(sides)),
        floor=math.fsum(float(_floor(group, variance=_win_variance(value, *groups))) for group in groups),
    )


def _degrees(sides: Sequence[Floats]) -> float:
    """Degrees of freedom of two groups together, by Satterthwaite (Biometrics Bulletin 2, 1946), at least 1."""
    variances = [float((side**2).sum()) for side in sides]
    below = math.fsum(found**2 / max(1, len(side) - 1) for found, side in zip(variances, sides, strict=True))
    return math.fsum(variances) ** 2 / below if below > 0.0 else max(1.0, min(map(len, sides)) - 1.0)


def _side_shifts(wins: Floats, *, sizes: Floats, others: float, value: float) -> Floats:
    """Scaled shifts of the AUC [C] without each subject of one side; zeros where there is only one."""
    num = len(wins)
    if num < 2:
        return np.zeros(num)
    without: Floats = (wins.sum() - wins) / ((sizes.sum() - sizes) * others)
    scaled: Floats = (without - value) * math.sqrt((num - 1) / num)
    return scaled


def _floor(group: Group, *, variance: float | Floats) -> Floats:
    return floor_of(len(group.values), len(set(group.subjects)), variance=variance)


def _win_variance(value: float, positive: Group, negative: Group) -> float:
    """Variance of the pairs around the AUC: 1 where the positive scores higher, 1/2 for a tie, else 0."""
    ours, theirs = Counter(positive.values), Counter(negative.values)
    num_ties = sum(count * theirs[score] for score, count in ours.items())
    return value * (1.0 - value) - num_ties / (len(positive.values) * len(negative.values)) / 4.0


def _gaps(first: Group, second: Group, *, grid: Floats) -> Floats:
    """First empirical distribution function minus the second at each grid value: float64 [G]."""
    gaps: Floats = _shares(first, grid=grid) - _shares(second, grid=grid)
    return gaps


def _shares(group: Group, *, grid: Floats) -> Floats:
    """Empirical distribution function at each grid value: float64 [G]."""
    shares: Floats = np.searchsorted(np.sort(group.values), grid, side="right") / len(group.values)
    return shares


def _gap_floor(first: Group, second: Group, *, grid: Floats) -> Floats:
    """Variance of each gap that its moves may hide: float64 [G]."""
    shares = [_shares(group, grid=grid) for group in (first, second)]
    return _floor(first, variance=shares[0] * (1.0 - shares[0])) + _floor(
        second, variance=shares[1] * (1.0 - shares[1])
    )


def _grid(first: Group, second: Group) -> Floats:
    """The values at which gaps are looked at: all, or evenly among many and where the gap is largest; ascending."""
    every = np.unique(np.concatenate([first.values, second.values]))
    widest = every[np.abs(_gaps(first, second, grid=every)).argmax()]
    grid: Floats = np.union1d(every[:: 1 + every.size // MAX_GRID], [widest])
    return grid


def _gap_moves(first: Group, second: Group, *, grid: Floats) -> Floats:
    """By how much each gap between the distribution functions moves without each subject: float64 [C, G]."""
    names = sorted({*first.subjects, *second.subjects})
    return _side_moves(first, names=names, grid=grid) - _side_moves(second, names=names, grid=grid)


def _side_moves(group: Group, *, names: list[str], grid: Floats) -> Floats:
    """Scaled shifts of one distribution function [C, G]; zeros for subjects that are not in it."""
    places, num = {name: place for place, name in enumerate(names)}, len(set(group.subjects))
    codes = np.array([places[subject] for subject in group.subjects])
    table = np.zeros((len(names), grid.size + 1))
    np.add.at(table, (codes, np.searchsorted(grid, group.values)), 1.0)
    below, sizes = np.cumsum(table, axis=1)[:, :-1], table.sum(axis=1, keepdims=True)
    if num < 2:
        return np.zeros_like(below)
    centred = below - sizes * (below.sum(axis=0) / sizes.sum())
    moves: Floats = -centred / (sizes.sum() - sizes) * math.sqrt((num - 1) / num)
    return moves


def _noise(moves: Floats, *, degrees: int) -> tuple[Floats, Floats]:
    """R draws of the gaps' error [R, G], and by how much each is to be stretched for Student's t [R]. Seeded."""
    generator = np.random.default_rng(0)
    noise: Floats = generator.standard_normal((NUM_DRAWS, len(moves))) @ moves
    return noise, np.sqrt(degrees / generator.chisquare(degrees, size=NUM_DRAWS))


def _wins(positive: Group, negative: Group) -> tuple[Floats, Floats, Floats]:
    """Pairs won by each subject against each other, ties half: float64 [C, D]; numbers of values [C] and [D]."""
    _, one, sizes = np.unique(positive.subjects, return_inverse=True, return_counts=True)
    _, two, rivals = np.unique(negative.subjects, return_inverse=True, return_counts=True)
    ours, theirs = np.asarray(positive.values), np.asarray(negative.values)
    columns: list[Floats] = []
    for code in range(len(rivals)):
        below = _below(theirs[two == code], ours)
        columns.append(np.bincount(one, weights=below, minlength=len(sizes)).astype(np.float64))
    return np.stack(columns, axis=1), sizes.astype(np.float64), rivals.astype(np.float64)


def _below(rivals: Floats, values: Floats) -> Floats:
    """How many rivals lie below each value, equal ones half."""
    ordered = np.sort(rivals)
    found: Floats = (np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")) / 2
    return found
