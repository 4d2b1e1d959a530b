"""What metrics and attacks are worth, of models of which it is known whether they have the knowledge.

Every number is read as *evidence*: higher says that more is known. It is the value where less is better, minus the
value where more is, and the distance from the reference retain model where nearness counts, as a forget score reads it.

faithfulness  AUC of the evidence, models with the knowledge against those without, ties half: .5 = cannot tell.
correlation   Spearman's rho of the evidence with the share of the subjects whose answers were learnt.
after         the same AUC once the weights of all were changed, and by how much the evidence of unlearned models lasts:
              Q = min(before / after, 1) where they were altered (quantised), R = min(gain of a retain model / gain, 1)
              where they were trained; means over unlearned models that keep their utility.
robustness    harmonic mean of R and Q, and `overall` that of it and of faithfulness.

Source: OpenUnlearning's meta-evaluation (arXiv 2506.12618), whose protocol is published in words and not in code. Ours:
which models are in the pools, the intervals, rates whose fewer are worse as 1 - value, a gain below 0 as 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from mmforget.metrics.base import RATE
from mmforget.metrics.two_sample import Group, auc_replicates
from mmforget.statistics.jackknife import interval
from mmforget.statistics.ranks import spearman

Pool = Literal["with", "without", "part", "unlearned"]
About = Literal["forgotten", "kept", "failures"]
KEPT_UTILITY = 0.8
"""Share of the target's utility below which an unlearned model says nothing of how long forgetting lasts."""


class Key(NamedTuple):
    """A number of a record; `attack` None: of the plain questions."""

    metric: str
    set: str
    profile: str
    attack: str | None = None


class Trait(NamedTuple):
    """What is known of a number beside its values.

    Attributes:
        higher_is_better: None where nearness to the retain model counts.
        about: whether it says what is left of what was to be forgotten, what of the rest, or how often answers fail.
        range: of the values.
        reference: the reference retain model's value.
    """

    higher_is_better: bool | None
    about: About
    range: tuple[float, float]
    reference: float | None


@dataclass(frozen=True)
class Model:
    """One model of known history.

    Attributes:
        share: of the subjects to forget whose answers it has learnt.
        graded: whether it takes part in the correlation with that share.
        values: by change of weights (empty: none), by number, what was read; None: no value.
        utility_ratio: share of the target's utility that is left.
    """

    name: str
    pool: Pool
    share: float
    graded: bool
    values: Mapping[str, Mapping[Key, float | None]]
    utility_ratio: float | None = None


@dataclass(frozen=True)
class Number:
    """A value with its 95 % interval, as far as there is one, and how many models it rests on."""

    value: float | None
    low: float | None = None
    high: float | None = None
    num: int = 0


@dataclass(frozen=True)
class After:
    """What is left of a metric after a change of weights: `auc`, and `lasting`, the mean Q or R."""

    auc: Number
    lasting: Number


@dataclass(frozen=True)
class Worth:
    """What one number is worth on one benchmark; `overall` and `robustness` only where everything for them is there."""

    key: Key
    about: About
    auc: Number
    num_missing: int
    correlation: Number
    after: Mapping[str, After] = field(default_factory=dict)
    robustness: float | None = None
    overall: float | None = None
    constant: bool = False

    @property
    def tells(self) -> bool | None:
        """Whether it tells models with the knowledge from those without; None of a number that is not made for it."""
        if self.about != "forgotten" or self.auc.value is None or self.auc.low is None:
            return None
        return self.auc.low > 0.5


def worths(models: Sequence[Model], traits: Mapping[Key, Trait], *, trained: Mapping[str, bool]) -> list[Worth]:
    """What every number is worth.

    Args:
        trained: the changes of weights, and whether each trains the model (else it alters it).
    """
    return [_worth(models, key, trait, trained=trained) for key, trait in traits.items()]


def _worth(models: Sequence[Model], key: Key, trait: Trait, *, trained: Mapping[str, bool]) -> Worth:
    found = {one.name: evidence(one.values.get("", {}).get(key), trait) for one in models}
    values = [one for one in found.values() if one is not None]
    pooled = [one for one in models if one.pool in ("with", "without")]
    after = {
        change: After(
            auc_of(models, key, trait, change=change), _lasting(models, key, trait, change, trained=is_training)
        )
        for change, is_training in trained.items()
    }
    auc = auc_of(models, key, trait)
    robustness = harmonic([one.lasting.value for one in after.values()])
    return Worth(
        key,
        trait.about,
        auc,
        sum(found[one.name] is None for one in pooled),
        _correlation(models, key, trait),
        after,
        robustness,
        harmonic([auc.value, robustness]),
        constant=bool(values) and len(set(values)) == 1,
    )


def evidence(value: float | None, trait: Trait) -> float | None:
    """How much a value says to be known; None where there is no value, or nothing to compare it with."""
    if value is None or math.isnan(value):
        return None
    if trait.higher_is_better is None:
        return None if trait.reference is None else abs(value - trait.reference)
    if not trait.higher_is_better:
        return value
    return 1.0 - value if trait.range == RATE else -value


def auc_of(models: Sequence[Model], key: Key, trait: Trait, *, change: str = "") -> Number:
    """AUC of the evidence between the pools, with its interval over models."""
    groups = [_group(models, key, trait, pool=pool, change=change) for pool in ("with", "without")]
    if not all(group.values for group in groups):
        return Number(None)
    replicates = auc_replicates(*groups)
    bounds = interval(replicates, bounds=RATE)
    return Number(replicates.value, bounds.low, bounds.high, sum(len(group.values) for group in groups))


def _group(models: Sequence[Model], key: Key, trait: Trait, *, pool: str, change: str) -> Group:
    read = {one.name: _read(one, key, trait, change) for one in models if one.pool == pool}
    told = {name: value for name, value in read.items() if value is not None}
    return Group(list(told.values()), list(told))


def _correlation(models: Sequence[Model], key: Key, trait: Trait) -> Number:
    read = [(_read(one, key, trait), one.share) for one in models if one.graded]
    told = [(value, share) for value, share in read if value is not None]
    found = spearman([value for value, _ in told], [share for _, share in told])
    return Number(found.value, found.low, found.high, len(told))


def _lasting(models: Sequence[Model], key: Key, trait: Trait, change: str, *, trained: bool) -> Number:
    """Mean Q or R over the unlearned models that keep their utility; none of numbers that are no rates."""
    unlearned = [one for one in models if one.pool == "unlearned" and (one.utility_ratio or 0.0) >= KEPT_UTILITY]
    gains = [_gain(one, key, trait, change) for one in models if one.pool == "without"]
    known = [gain for gain in gains if gain is not None]
    if trait.range != RATE or not unlearned or (trained and not known):
        return Number(None)
    normal = math.fsum(known) / len(known) if known else 0.0
    parts = []
    for one in unlearned:
        before, after = _read(one, key, trait), _read(one, key, trait, change)
        if before is not None and after is not None:
            parts.append(ratio(normal, after - before) if trained else ratio(before, after))
    return Number(math.fsum(parts) / len(parts) if parts else None, num=len(parts))


def ratio(less: float, more: float) -> float:
    """The first over the second, in [0, 1]; 1 where the second is nothing."""
    return 1.0 if more <= 0.0 else min(1.0, max(0.0, less / more))


def _gain(model: Model, key: Key, trait: Trait, change: str) -> float | None:
    before, after = _read(model, key, trait), _read(model, key, trait, change)
    return None if before is None or after is None else after - before


def _read(model: Model, key: Key, trait: Trait, change: str = "") -> float | None:
    return evidence(model.values.get(change, {}).get(key), trait)


def harmonic(values: Sequence[float | None]) -> float | None:
    """Harmonic mean; 0 where one is 0, None where one is missing or there is none."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    return 0.0 if min(known) <= 0.0 else len(known) / math.fsum(1.0 / value for value in known)
