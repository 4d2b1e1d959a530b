"""Membership inference by the strongest of many detectors: can any of them tell what was forgotten from what was never
seen?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

from mmforget.metrics.base import RATE, Kind, Other, check_profile
from mmforget.metrics.detectors import NAMES, Scores, detector, halves
from mmforget.metrics.estimate import count_lacking, count_unscored, is_constant, reasons_of_both, with_interval
from mmforget.metrics.membership import STATISTICS
from mmforget.metrics.mia_auc import auc_of, check_apart
from mmforget.metrics.two_sample import Group, auc, auc_replicates, group_of
from mmforget.statistics.jackknife import derived
from mmforget.statistics.kolmogorov_smirnov import tied
from mmforget.types import Estimate, Sample, Score

LOSS = "loss"
UNDIVIDED = "too few subjects to choose a detector on half of them: loss (high scores)"


class Chosen(NamedTuple):
    """A detector, and whether members have the high scores or the low ones."""

    name: str
    is_high: bool

    def __str__(self) -> str:
        return f"{self.name} ({'high' if self.is_high else 'low'} scores)"


@dataclass(frozen=True)
class MiaStrongest:
    """AUC of the detector that tells members from non-members best, in whichever direction, in [0, 1]; .5 = none can.

    The detectors are all of `mia_auc` that one pass serves. Subjects of both groups are divided in two halves; for each
    half the detector and the direction are those with the AUC furthest from .5 on the other one, so that trying many
    gains nothing where there is nothing to find, and what is avoided more than what was never seen is found as well as
    what is known. The value is the mean of both halves' AUC. The reasons say which were chosen, and which could not
    score every answer that has a loss and were not tried. Of a group of one subject it is the AUC of the loss. Read it
    against the retain model's, on the same rows.

    Source: detectors of the kinds of TDDBench (arXiv 2411.03363).

    Profiles:
        clean: as above. Mends the largest of many AUCs, which lies above .5 by chance.
    """

    name = "mia_strongest"
    kind: ClassVar[Kind] = "prob"
    other: ClassVar[Other] = "holdout"
    profiles = {"clean": "TDDBench (arXiv 2411.03363)"}
    range = RATE
    higher_is_better = None
    statistics: ClassVar[tuple[str, ...]] = STATISTICS
    reads_reference = True

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        """The mean AUC of both halves with its 95 % interval by subjects of both groups."""
        check_profile(self, profile)
        check_apart(samples, other)
        every = _where_scored({name: detector(name)(samples, other) for name in NAMES})
        usable = _usable(every)
        sides = (halves(samples), halves(other))
        groups = [{name: _half(scores, sides, half) for name, scores in usable.items()} for half in (0, 1)]
        if not all(group.values for half in groups for group in half[LOSS]):
            found = auc_of(self, *every[LOSS])
            return replace(found, reasons=(*found.reasons, UNDIVIDED))
        chosen = [_strongest(groups[1 - half]) for half in (0, 1)]
        pairs = [_turned(groups[half][one.name], one) for half, one in enumerate(chosen)]
        return self._estimate(every[LOSS], pairs, reasons=(_told(chosen), *_left_out(every, usable)))

    def _estimate(self, scores: Scores, pairs: Sequence[tuple[Group, Group]], *, reasons: tuple[str, ...]) -> Estimate:
        """The mean of the AUC of two pairs of groups; `scores` say which answers could not be scored, and why."""
        found = derived(_mean, {str(half): auc_replicates(*pair) for half, pair in enumerate(pairs)})
        both = [*scores.members, *scores.others]
        estimate = Estimate(
            value=found.value,
            num_scored=sum(one.value is not None for one in both),
            num_unscored=count_unscored(both),
            range=self.range,
            constant=all(is_constant([*one.values, *two.values]) for one, two in pairs),
            reasons=(*reasons_of_both(*scores, called="holdout"), *reasons),
            num_lacking=count_lacking(both),
        )
        return with_interval(estimate, found)


def _mean(values: Mapping[str, float]) -> float:
    return math.fsum(values.values()) / len(values)


def _where_scored(every: Mapping[str, Scores]) -> dict[str, Scores]:
    """The scores of those answers alone whose loss is known."""

    def kept(own: Sequence[Score], losses: Sequence[Score]) -> list[Score]:
        return [loss if loss.value is None else one for one, loss in zip(own, losses, strict=True)]

    loss = every[LOSS]
    return {
        name: Scores(kept(scores.members, loss.members), kept(scores.others, loss.others))
        for name, scores in every.items()
    }


def _usable(every: Mapping[str, Scores]) -> dict[str, Scores]:
    """The detectors that score as many answers of each group as the loss does."""
    most = [_num_scored(group) for group in every[LOSS]]
    return {name: scores for name, scores in every.items() if [_num_scored(group) for group in scores] == most}


def _told(chosen: Sequence[Chosen]) -> str:
    return f"chosen: {', '.join(dict.fromkeys(map(str, chosen)))}"


def _left_out(every: Mapping[str, Scores], usable: Mapping[str, Scores]) -> list[str]:
    """The detectors that are not tried, each with the reason."""
    losses = [*every[LOSS].members, *every[LOSS].others]
    found = []
    for name in every.keys() - usable.keys():
        own = zip([*every[name].members, *every[name].others], losses, strict=True)
        why = next((one.reason for one, loss in own if one.value is None and loss.value is not None), "")
        found.append(f"not tried: {name}, {why}")
    return sorted(found)


def _num_scored(scores: Sequence[Score]) -> int:
    return sum(score.value is not None for score in scores)


def _half(scores: Scores, sides: tuple[list[int], list[int]], half: int) -> tuple[Group, Group]:
    """The scored members and non-members of one half, what rounding alone tells apart being a tie."""
    kept = [
        group_of([one for one, side in zip(group, own, strict=True) if side == half])
        for group, own in zip(scores, sides, strict=True)
    ]
    if not all(group.values for group in kept):
        return kept[0], kept[1]
    values = tied(kept[0].values, kept[1].values)
    return kept[0]._replace(values=values[0]), kept[1]._replace(values=values[1])


def _strongest(groups: Mapping[str, tuple[Group, Group]]) -> Chosen:
    found = {name: auc(members.values, others.values) for name, (members, others) in groups.items()}
    name = max(found, key=lambda one: abs(found[one] - 0.5))
    return Chosen(name, found[name] >= 0.5)


def _turned(pair: tuple[Group, Group], chosen: Chosen) -> tuple[Group, Group]:
    if chosen.is_high:
        return pair
    first, second = (Group([-value for value in group.values], group.subjects) for group in pair)
    return first, second


METRIC = MiaStrongest()
