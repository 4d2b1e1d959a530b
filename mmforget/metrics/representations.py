"""What metrics of representations have in common: which states of two models go together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmforget.errors import UserError
from mmforget.metrics.base import Declared, Kind
from mmforget.metrics.estimate import count_lacking, count_unscored, no_estimate, unscored_reasons
from mmforget.types import Estimate, Sample, Score

Floats = NDArray[np.float64]
To = Literal["retain_model", "target"]
SHARES = ("0.25", "0.5", "0.75", "1")
"""At which shares of the depth states are kept, as they are named."""


class BesideAnother:
    """What such a metric says of itself: it reads the states behind generated answers, and nearer is better.

    Attributes:
        to: the model to compare with, a field of the metric.
    """

    kind: ClassVar[Kind] = "gen"
    to: To

    @property
    def other(self) -> To:
        return self.to

    @property
    def higher_is_better(self) -> bool:
        return True


class Pairs(NamedTuple):
    """Rows whose states two models have.

    Attributes:
        own, other: by share of the depth, states [n, D].
        subjects: of the n rows.
        missing: a score without a value for every row that has not both.
    """

    own: list[Floats]
    other: list[Floats]
    subjects: list[str]
    missing: list[Score]


def require_share(depth: float | None) -> None:
    """Raises UserError for a depth at which no states are kept."""
    if depth is not None and f"{depth:g}" not in SHARES:
        raise UserError(f"depth={depth:g} is not allowed; states are kept at {', '.join(SHARES)} of the depth")


def pairs_of(samples: Sequence[Sample], other: Sequence[Sample], *, depth: float | None) -> Pairs:
    """The rows of which both models' states are known, at one share of the depth or at all."""
    names = SHARES if depth is None else (f"{depth:g}",)
    theirs = {sample.id: sample for sample in other}
    rows: list[tuple[list[Floats], list[Floats]]] = []
    subjects, missing = list[str](), list[Score]()
    for sample in samples:
        both = [_vectors(one, names=names) for one in (sample, theirs.get(sample.id))]
        reason = next((one for one in both if isinstance(one, str)), "")
        own, others = both
        if not isinstance(own, str) and not isinstance(others, str):
            is_alike = not rows or _widths(rows[0]) == _widths((own, others))
            reason = "" if is_alike else "its states are of another width than those of other rows"
            if is_alike:
                rows.append((own, others))
                subjects.append(sample.subject)
        if reason:
            is_lacking = bool(sample.lacking) and not sample.unanswered
            missing.append(Score(None, sample.subject, reason, lacking=is_lacking))
    sides = [[np.stack([row[side][at] for row in rows]) for at in range(len(names))] if rows else [] for side in (0, 1)]
    return Pairs(sides[0], sides[1], subjects, missing)


def _vectors(sample: Sample | None, *, names: Sequence[str]) -> list[Floats] | str:
    """A row's states, or why there are none."""
    if sample is None:
        return "the other model was not asked"
    if sample.unanswered or sample.lacking:
        return sample.unanswered or sample.lacking
    if any(name not in sample.states for name in names):
        return "no hidden states were kept"
    found = [sample.states[name].array().astype(np.float64) for name in names]
    return found if all(np.isfinite(one).all() for one in found) else "its hidden states are no numbers"


def _widths(row: tuple[list[Floats], list[Floats]]) -> list[tuple[int, ...]]:
    return [one.shape for side in row for one in side]


def nothing(metric: Declared, pairs: Pairs, *, reason: str, constant: bool = False) -> Estimate:
    """No value, and why."""
    found = no_estimate(
        metric,
        reasons=(*unscored_reasons([*pairs.missing, *_told(pairs)]), reason),
        num_unscored=count_unscored(pairs.missing),
        num_lacking=count_lacking(pairs.missing),
    )
    return replace(found, constant=constant)


def counted(metric: Declared, pairs: Pairs, *, value: float, constant: bool) -> Estimate:
    """A value with its counts, and no interval yet."""
    return Estimate(
        value=value,
        num_scored=len(pairs.subjects),
        num_unscored=count_unscored(pairs.missing),
        num_lacking=count_lacking(pairs.missing),
        higher_is_better=metric.higher_is_better,
        range=metric.range,
        constant=constant,
        reasons=unscored_reasons([*pairs.missing, *_told(pairs)]),
    )


def is_constant(pairs: Pairs) -> bool:
    """Whether all rows have the same states in this model."""
    return len(pairs.subjects) > 1 and all((one == one[0]).all() for one in pairs.own)


def _told(pairs: Pairs) -> list[Score]:
    """Of the rows that count, so that reasons say how many there are."""
    return [Score(0.0, subject) for subject in pairs.subjects]
