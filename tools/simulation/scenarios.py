"""What is simulated: every kind of estimate, with truths in the middle and at the bounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from mmforget.evaluation.headline import ENDLESS
from mmforget.metrics.composite import harmonic
from mmforget.metrics.two_sample import Group, auc_replicates, ks_distance_interval
from mmforget.statistics.jackknife import Interval, derived, interval
from mmforget.statistics.nearness import at_most_one, nearness
from mmforget.statistics.seeds import over_seeds
from mmforget.types import Replicates
from simulation.world import Floats, Kind, People, answers, average, model_latent, normals, people

RATE = (0.0, 1.0)
NUM_KEPT = 40
"""Subjects of the utility set, where the number of forgotten ones varies."""
TARGET, RETAIN = 0.9, 0.3
"""Rates of target and retain model on the forget set."""
FAR, ODD = 3.0, 0.1
"""Where scores of nearly all subjects are so far apart, and those of a rare one not at all."""
METRICS = 5
"""Metrics whose closeness makes the forget score, one of them in the place of disclosure."""

# One repetition with C subjects: the interval.
Draw = Callable[[np.random.Generator, int], Interval]


class Scenario(NamedTuple):
    """One line of the table. `bound`: the truth lies where the interval can err to one side only."""

    kind: str
    case: str
    truth: float
    draw: Draw
    bound: bool = False


def scenarios() -> list[Scenario]:
    """All of them, by kind."""
    return [*_means(), *_distances(), *_aucs(), *_derived(), *_nearness(), *_seeds()]


def _means() -> Iterator[Scenario]:
    kinds: Sequence[Kind] = ("right or wrong", "ROUGE-like")
    for kind in kinds:
        for level in (0.02, 0.1, 0.5, 0.9):
            for correlation in (0.05, 0.2, 0.5):
                draw = partial(_mean, level=level, correlation=correlation, scores=kind)
                yield Scenario("mean", f"{kind}, correlation {correlation:g}", level, draw)
        for level in (0.1, 0.5):
            draw = partial(_mean, level=level, correlation=0.2, scores=kind, unequal=True)
            yield Scenario("mean", f"{kind}, correlation 0.2, 2 to 39 questions each", level, draw)
    yield Scenario("mean", "never right", 0.0, partial(_mean, level=0.0, correlation=0.2), bound=True)


def _mean(
    generator: np.random.Generator,
    num: int,
    *,
    level: float,
    correlation: float,
    scores: Kind = "right or wrong",
    unequal: bool = False,
) -> Interval:
    who = people(generator, num, unequal=unequal)
    found = answers(generator, who, max(level, 1e-12), correlation=correlation, kind=scores)
    return interval(found, bounds=RATE)


def _distances() -> Iterator[Scenario]:
    for shared in (0.1, 0.4):
        for shift in (0.0, 0.25, 0.8, 2.0):
            truth = float(2 * norm.cdf(shift / 2) - 1)
            draw = partial(_distance, shift=shift, shared=shared)
            yield Scenario("ks_distance", f"correlation {shared:g}", truth, draw, bound=shift == 0.0)
    truth = (1.0 - ODD) * float(2 * norm.cdf(FAR / 2) - 1)
    draw = partial(_distance, shift=FAR, shared=0.1, odd=ODD)
    yield Scenario("ks_distance", "correlation 0.1, one subject in ten without any", truth, draw)


def _distance(generator: np.random.Generator, num: int, *, shift: float, shared: float, odd: float = 0.0) -> Interval:
    who = people(generator, num)
    means = (_means_of(generator, who, shift=shift, odd=odd), np.zeros(who.sizes.sum()))
    mine, theirs = (Group(normals(generator, who, mean=mean, shared=shared), who.subjects) for mean in means)
    return ks_distance_interval(mine, theirs)


def _means_of(generator: np.random.Generator, who: People, *, shift: float, odd: float) -> Floats:
    """Mean of each score [N]: `shift`, and 0 for a share `odd` of the subjects."""
    return np.repeat(np.where(generator.random(len(who.sizes)) < odd, 0.0, shift), who.sizes)


def _aucs() -> Iterator[Scenario]:
    for shift in (0.0, 0.75, 2.5):
        truth = float(norm.cdf(shift / math.sqrt(2)))
        yield Scenario("AUC", "members against as many others", truth, partial(_auc, shift=shift))
    truth = (1.0 - ODD) * float(norm.cdf(FAR / math.sqrt(2))) + ODD / 2
    yield Scenario("AUC", "one member in ten like the others", truth, partial(_auc, shift=FAR, odd=ODD))


def _auc(generator: np.random.Generator, num: int, *, shift: float, odd: float = 0.0) -> Interval:
    inside, outside = people(generator, num), people(generator, num, prefix="q")
    means = _means_of(generator, inside, shift=shift, odd=odd)
    members = Group(normals(generator, inside, mean=means), inside.subjects)
    others = Group(normals(generator, outside, mean=np.zeros(len(means))), outside.subjects)
    return interval(auc_replicates(members, others), bounds=RATE)


def _derived() -> Iterator[Scenario]:
    for kept, forgotten in ((0.9, 0.3), (0.6, 0.6), (0.98, 0.02)):
        draw = partial(_gap, kept=kept, forgotten=forgotten)
        yield Scenario("gap of two sets", f"{NUM_KEPT} others kept", kept - forgotten, draw)
    for levels in ((0.9, 0.8, 0.6, 0.7), (0.97, 0.95, 0.98, 0.96), (0.5, 0.1, 0.6, 0.3)):
        draw = partial(_composite, levels=levels)
        yield Scenario("harmonic mean of four", "of one model on one set", harmonic(_numbered(levels)), draw)
    for level in (0.45, 0.81, 0.9):
        truth = min(1.0, level / 0.9)
        yield Scenario("utility ratio", "paired", truth, partial(_ratio, level=level), bound=truth == 1.0)


def _gap(generator: np.random.Generator, num: int, *, kept: float, forgotten: float) -> Interval:
    who, others = people(generator, num), people(generator, NUM_KEPT, prefix="q")
    parts = {"kept": answers(generator, others, kept), "forgotten": answers(generator, who, forgotten)}
    return interval(derived(lambda values: values["kept"] - values["forgotten"], parts), bounds=(-1.0, 1.0))


def _composite(generator: np.random.Generator, num: int, *, levels: Sequence[float]) -> Interval:
    return interval(derived(harmonic, _several(generator, people(generator, num), levels)), bounds=RATE)


def _several(generator: np.random.Generator, who: People, levels: Sequence[float]) -> dict[str, Replicates]:
    """Several metrics of one model, half of them right or wrong, half ROUGE-like."""
    model, kinds = model_latent(generator, who), ("right or wrong", "ROUGE-like")
    return {
        str(index): answers(generator, who, level, kind=kinds[index % 2], model=model)
        for index, level in enumerate(levels)
    }


def _numbered(levels: Sequence[float]) -> dict[str, float]:
    return {str(index): level for index, level in enumerate(levels)}


def _ratio(generator: np.random.Generator, num: int, *, level: float) -> Interval:
    return _within(interval(_utility_ratio(generator, num, level=level), bounds=ENDLESS))


def _utility_ratio(generator: np.random.Generator, num: int, *, level: float) -> Replicates:
    who = people(generator, num, prefix="q")
    parts = {
        name: derived(harmonic, _several(generator, who, [rate] * 4)) for name, rate in (("own", level), ("base", 0.9))
    }
    return at_most_one(derived(lambda values: values["own"] / values["base"], parts))


def _nearness() -> Iterator[Scenario]:
    for level in (0.3, 0.45, 0.7, 0.9):
        truth = 1.0 - (level - RETAIN) / (TARGET - RETAIN)
        at_bound = level in (RETAIN, TARGET)
        yield Scenario("closeness", "of one metric", truth, partial(_closeness, level=level), bound=at_bound)
        case = f"of {METRICS} metrics, one of disclosure"
        yield Scenario("forget score", case, truth, partial(_forget, level=level), bound=at_bound)
    for level, kept in ((0.3, 0.9), (0.3, 0.63), (0.45, 0.81), (0.7, 0.9)):
        forget, ratio = 1.0 - (level - RETAIN) / (TARGET - RETAIN), kept / 0.9
        case = f"forget score {forget:.2f} of C, utility ratio {ratio:.2f} of {NUM_KEPT}"
        draw = partial(_overall, level=level, kept=kept)
        yield Scenario("overall", case, harmonic({"a": forget, "b": ratio}), draw, bound=forget == ratio == 1.0)


def _closeness(generator: np.random.Generator, num: int, *, level: float) -> Interval:
    who = people(generator, num)
    own, target, retain = (answers(generator, who, rate) for rate in (level, TARGET, RETAIN))
    return _within(interval(nearness(own, target=target, standard=retain), bounds=ENDLESS))


def _forget(generator: np.random.Generator, num: int, *, level: float) -> Interval:
    return _within(interval(_forget_score(generator, num, level=level), bounds=ENDLESS))


def _forget_score(generator: np.random.Generator, num: int, *, level: float) -> Replicates:
    who = people(generator, num)
    own, target, retain = (_several(generator, who, [rate] * METRICS) for rate in (level, TARGET, RETAIN))
    return derived(_bounded, {key: nearness(own[key], target=target[key], standard=retain[key]) for key in own})


def _bounded(values: Mapping[str, float]) -> float:
    """Of the first, in the place of disclosure, and the mean of the others: the harmonic mean."""
    disclosed, *others = values.values()
    return harmonic({"disclosed": disclosed, "others": average(others)})


def _overall(generator: np.random.Generator, num: int, *, level: float, kept: float) -> Interval:
    parts = {
        "forget": _forget_score(generator, num, level=level),
        "ratio": _utility_ratio(generator, NUM_KEPT, level=kept),
    }
    return _within(interval(derived(harmonic, parts), bounds=ENDLESS))


def _seeds() -> Iterator[Scenario]:
    for spread in (0.0, 0.05, 0.15):
        draw = partial(_mean_over_seeds, spread=spread)
        yield Scenario("mean over 3 seeds", f"rates vary by {spread:g} between seeds", 0.6, draw)
    for spread in (0.0, 0.05, 0.1):
        draw = partial(_closeness_over_seeds, spread=spread)
        yield Scenario("closeness over 3 seeds", f"rates vary by {spread:g} between seeds", 0.5, draw)


def _mean_over_seeds(generator: np.random.Generator, num: int, *, spread: float) -> Interval:
    who = people(generator, num)
    found = over_seeds([_trained(generator, who, spread=spread) for _ in range(3)], bounds=RATE)
    return Interval(found.low, found.high, found.reason)


def _closeness_over_seeds(generator: np.random.Generator, num: int, *, spread: float) -> Interval:
    who = people(generator, num)
    target, retain = answers(generator, who, TARGET), answers(generator, who, RETAIN)
    own = [_trained(generator, who, spread=spread) for _ in range(3)]
    found = over_seeds([nearness(one, target=target, standard=retain) for one in own], bounds=ENDLESS)
    return _within(Interval(found.low, found.high, found.reason))


def _trained(generator: np.random.Generator, who: People, *, spread: float) -> Replicates:
    """One more seed at a rate of .6; with few subjects per rate at a bound, cutting off hardly moves the mean."""
    return answers(generator, who, 0.6, correlation=0.1, shift=spread * generator.standard_normal())


def _within(found: Interval) -> Interval:
    """As an estimate of range [0, 1] cuts it off."""
    if found.low is None or found.high is None:
        return found
    return Interval(max(0.0, found.low), min(1.0, found.high))
