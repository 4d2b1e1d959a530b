"""Forget quality: p-value that truth ratios of the unlearned and of the retain model come from one distribution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

from mmforget.errors import UserError
from mmforget.metrics.base import NAMED_PROFILES, OPENUNLEARNING, RATE, TOFU_CODE, Declared, Kind, Other, check_profile
from mmforget.metrics.estimate import count_lacking, is_constant, no_estimate, reasons_of_both
from mmforget.metrics.logprobs import log_truth_ratio, ratio
from mmforget.metrics.two_sample import Group, fewest_subjects, group_of
from mmforget.statistics.jackknife import Interval
from mmforget.statistics.kolmogorov_smirnov import KSResult, is_floor, ks_test, lowest_log10_p, tied
from mmforget.types import Estimate, Sample, Score


@dataclass(frozen=True)
class KSForgetQuality:
    """p of the two-sample Kolmogorov-Smirnov test between {r} of two models on the forget set, in [0, 1].

    r = exp(mean perturbed loss - rephrased-answer loss), one per question. 1 = like the retain model. `ks_distance` is
    the statistic D with an interval, `ks_log10_p` what tables print. The test takes questions as independent although
    they come in subjects, so p is too small; compare it with p between two retain models, and read D.

    Source: FIUBench (arXiv 2411.03554) after TOFU (arXiv 2401.06121); exact, as `scipy.stats.ks_2samp`.

    Profiles:
        released: r from losses divided by T + 1.
        clean: r from losses divided by T; ratios that are NaN are left out of their model's sample and counted. Mends
            the denominator and the crash.
        tofu_paper: as `ks_distance` has it.
        openunlearning: as `ks_distance` has it (arXiv 2506.12618).
    """

    name = "ks_forget_quality"
    kind: ClassVar[Kind] = "prob"
    other: ClassVar[Other] = "retain_model"
    profiles = {
        "released": "FIUBench (arXiv 2411.03554), official code",
        "clean": "mmforget",
        "tofu_paper": TOFU_CODE,
        "openunlearning": OPENUNLEARNING,
    }
    range = RATE
    higher_is_better = True

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        """p-value against the retain model. It has no interval: it is itself a statement of uncertainty."""
        check_profile(self, profile)
        return ks_estimate(self, samples, other, profile=profile, value=lambda found: found.p)


class Ratios(NamedTuple):
    """log r of both models, and how many questions have none of either, with the reasons."""

    first: Group
    second: Group
    num_unscored: int
    num_lacking: int
    reasons: tuple[str, ...]


def ks_estimate(
    metric: Declared,
    samples: Sequence[Sample],
    other: Sequence[Sample],
    *,
    profile: str,
    value: Callable[[KSResult], float],
    interval: Callable[[Group, Group], Interval] | None = None,
) -> Estimate:
    """One number of the KS test between two models' truth ratios, with an interval where `interval` is given."""
    found = ratios(samples, other, profile=profile)
    if not found.first.values or not found.second.values:
        reason = "no truth ratios of the retain model" if found.first.values else "no truth ratios of this model"
        counts = {"num_unscored": found.num_unscored, "num_lacking": found.num_lacking}
        return no_estimate(metric, reasons=(*found.reasons, reason), **counts)
    tested = ks_test(found.first.values, found.second.values)
    found = found._replace(reasons=(*found.reasons, *_at_floor(found, tested)))
    estimate = Estimate(
        value=value(tested),
        num_scored=len(found.first.values),
        num_unscored=found.num_unscored,
        num_lacking=found.num_lacking,
        higher_is_better=metric.higher_is_better,
        range=metric.range,
        constant=is_constant(found.first.values),
        reasons=found.reasons,
    )
    if interval is None:
        return estimate
    low, high, reason = interval(found.first, found.second)
    num_subjects = fewest_subjects(found.first, found.second)
    reasons = (*found.reasons, reason) if reason else found.reasons
    return replace(estimate, low=low, high=high, num_subjects=num_subjects, reasons=reasons)


def ratios(samples: Sequence[Sample], other: Sequence[Sample], *, profile: str) -> Ratios:
    """log r of both models, equal where rounding alone tells them apart; it cannot overflow.

    Its KS test equals that of r or 1/r. Under a named profile it is 1/r in floats, as the codes have it, with no ties
    but those of equal floats.

    Raises UserError where the two groups are of different sets or questions.
    """
    _check_same_questions(samples, other)
    scores = [_score(sample, profile=profile) for sample in samples]
    others = [_score(sample, profile=profile) for sample in other]
    reasons = reasons_of_both(scores, others, called="retain model")
    num_lacking = count_lacking(scores)
    unscored = [sum(one.value is None and not one.lacking for one in several) for several in (scores, others)]
    first, second = group_of(scores), group_of(others)
    as_coded = profile in NAMED_PROFILES
    values = [first.values, second.values] if as_coded else tied(first.values, second.values)
    return Ratios(
        first._replace(values=values[0]), second._replace(values=values[1]), sum(unscored), num_lacking, reasons
    )


def _score(sample: Sample, *, profile: str) -> Score:
    log_r = log_truth_ratio(sample, profile=profile)
    value = ratio(log_r.value) if log_r.value is not None and profile in NAMED_PROFILES else log_r.value
    return Score(value, sample.subject, log_r.reason, log_r.lacking)


def _at_floor(found: Ratios, tested: KSResult) -> tuple[str, ...]:
    """That p says nothing but how many questions there are, where that is so."""
    num_first, num_second = len(found.first.values), len(found.second.values)
    if not is_floor(tested):
        return ()
    power = lowest_log10_p(num_first, num_second)
    return (
        f"wholly apart: p is the floor of {num_first} and {num_second} questions, 10^{power:.1f}, however far apart",
    )


def _check_same_questions(samples: Sequence[Sample], other: Sequence[Sample]) -> None:
    mine, theirs = {sample.id for sample in samples}, {sample.id for sample in other}
    if mine and theirs and mine != theirs:
        only = sorted(mine ^ theirs)
        raise UserError(
            f"the retain model was asked other questions: {len(only)} of {len(mine | theirs)} are in one of the two "
            f"only, such as '{only[0]}'; evaluate both models on the same set with the same --limit"
        )


METRIC = KSForgetQuality()
