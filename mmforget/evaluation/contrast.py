"""Two models, or two methods with several seeds each, number by number: which is better, by how much, and how sure.

A number that is a mean of scores is compared on the very questions that both sides answered and that could be scored on
both; how many had to be left out is counted. Numbers of the headline are compared by their replicates. The p values of
all numbers of one comparison are adjusted for one another by Holm's rule.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

from mmforget.arguments import typed_arguments
from mmforget.benchmark.document import MetricName
from mmforget.errors import UserError
from mmforget.evaluation.answers import Answers
from mmforget.metrics.arguments import metric_of
from mmforget.metrics.base import Metric, SampleMetric, reads_attempts
from mmforget.results.schema import MetricResult, RunRecord
from mmforget.results.store import StoredRun
from mmforget.statistics.differences import Difference, difference
from mmforget.statistics.excess import holm
from mmforget.statistics.jackknife import LEVEL, mean_replicates
from mmforget.types import Estimate, Sample, Score

HEADLINE = ("overall", "forget_score", "utility", "utility_ratio")
ENDLESS, RATES = (-math.inf, math.inf), (-1.0, 1.0)
"""Distances are as uncertain near their bounds as elsewhere, unlike rates; the difference of two lies in RATES."""
PROFILE = "clean"
EQUAL = 1e-9
"""Means of a subject's scores that lie no further apart are a tie."""
Outcome = Literal["better", "worse", "differs", "no difference", "open"]
"""Of the second side: surely better or worse than the first; surely another number where nearness to the retain model
is what counts; no difference that is sure; or nothing can be told, and `reason` says why."""
Question = tuple[str, str, int | None, str, str]
"""What makes two samples answers to one question: id, subject, attempt, question and answer."""


@dataclass(frozen=True)
class Side:
    """What is compared: the record of one model, or those of one method with several seeds.

    Attributes:
        label: what it is called.
        runs: at least one.
    """

    label: str
    runs: tuple[StoredRun, ...]

    @property
    def records(self) -> list[RunRecord]:
        return [run.record for run in self.runs]

    @cached_property
    def answers(self) -> list[Answers]:
        """The stored answers of every run. Raises UserError where they are missing or not those of the record."""
        return [Answers(run.samples()) for run in self.runs]


class Left(NamedTuple):
    """Questions that take no part, and why.

    Attributes:
        only_first, only_second: asked of one side alone, or in other words.
        unscored: that some model of either side has no score for.
    """

    only_first: int = 0
    only_second: int = 0
    unscored: int = 0


class Tally(NamedTuple):
    """Subjects for whom the second side is better, equal and worse; higher, equal and lower without a direction."""

    wins: int
    ties: int
    losses: int


@dataclass(frozen=True)
class Contrast:
    """One number of both sides.

    Attributes:
        name, set, profile, task, attack: the number; `set` is empty for one of the headline.
        first, second: its values on the questions that both have.
        value, low, high: the second less the first, with the 95 % interval.
        p_value, adjusted: of no difference, by itself and among all numbers of the comparison (Holm).
        higher_is_better: None where nearness to the retain model counts.
        num_questions, num_subjects: what it rests on.
        subjects: whom the second side is better for; None where it is no mean of scores.
        left: what was left out.
        reason: why nothing can be told.
    """

    name: str
    set: str
    profile: str
    task: str
    attack: str | None
    first: float | None
    second: float | None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    adjusted: float | None = None
    higher_is_better: bool | None = None
    outcome: Outcome = "open"
    num_questions: int = 0
    num_subjects: int = 0
    subjects: Tally | None = None
    left: Left = Left()
    reason: str = ""


def contrasts(first: Side, second: Side) -> list[Contrast]:
    """Every number that both sides have, those of the headline first, each in its clean profile or its first one."""
    found = [*_of_headline(first, second), *_of_metrics(first, second)]
    tested = [one for one in found if one.p_value is not None]
    adjusted = dict(zip(map(id, tested), holm([one.p_value or 0.0 for one in tested]), strict=True))
    return [replace(one, adjusted=adjusted.get(id(one)), outcome=_outcome(one, adjusted.get(id(one)))) for one in found]


def _outcome(one: Contrast, p_value: float | None) -> Outcome:
    if p_value is None or one.value is None:
        return "open"
    if p_value >= 1.0 - LEVEL:
        return "no difference"
    if one.higher_is_better is None:
        return "differs"
    return "better" if (one.value > 0.0) == one.higher_is_better else "worse"


def _of_headline(first: Side, second: Side) -> Iterator[Contrast]:
    for name in HEADLINE:
        estimates = [[record.headline.get(name) for record in side.records] for side in (first, second)]
        if not all(one is not None and one.value is not None for side in estimates for one in side):
            continue
        own, other = (
            _mean([one.value for one in side if one is not None and one.value is not None]) for side in estimates
        )
        blank = Contrast(name, "", PROFILE, "", None, own, other, higher_is_better=True)
        replicates = [[record.replicates.get(name) for record in side.records] for side in (first, second)]
        known = [[one for one in side if one is not None] for side in replicates]
        if _rows(first) != _rows(second):
            yield replace(blank, reason="of other questions: compare what both were asked, below")
        elif any(len(own) < len(side) for own, side in zip(known, replicates, strict=True)):
            yield replace(blank, reason="no interval: the record keeps nothing by subject")
        else:
            told = _told(blank, difference(*known, bounds=ENDLESS))
            yield replace(told, low=_within(told.low, RATES), high=_within(told.high, RATES))


def _within(bound: float | None, limits: tuple[float, float]) -> float | None:
    return None if bound is None else min(limits[1], max(limits[0], bound))


def _rows(side: Side) -> set[tuple[tuple[str, int, str], ...]]:
    """Which questions were asked of every record of a side."""
    return {
        tuple(sorted((name, use.num_questions, use.rows_hash) for name, use in record.sets.items()))
        for record in side.records
    }


def _of_metrics(first: Side, second: Side) -> Iterator[Contrast]:
    """Means of scores in the order of the first record; in one profile, since the same answers tell nothing twice."""
    theirs = {_key(result) for result in second.records[0].metrics}
    chosen: dict[tuple[str, str, str, str | None], MetricResult] = {}
    for result in first.records[0].metrics:
        if result.task and _key(result) in theirs:
            name = (result.name, result.set, result.task, result.attack)
            if name not in chosen or result.profile == PROFILE:
                chosen[name] = result
    for result in sorted(chosen.values(), key=lambda one: one.attack is not None):
        metric = _metric_called(result.name)
        if metric is None or isinstance(metric, SampleMetric):
            yield _of_metric(result, metric, first=first, second=second)


def _key(result: MetricResult) -> tuple[str, str, str, str, str | None]:
    return result.name, result.set, result.profile, result.task, result.attack


def _metric_called(key: str) -> Metric | None:
    """The metric that a record calls `key`; None of one that is not there any more."""
    name, _, rest = key.partition("(")
    try:
        return metric_of(MetricName(name, typed_arguments(rest.removesuffix(")"), owner=f"metric '{name}'")))
    except UserError:
        return None


def _of_metric(result: MetricResult, metric: Metric | None, *, first: Side, second: Side) -> Contrast:
    named = (result.name, result.set, result.profile, result.task, result.attack)
    blank = Contrast(*named, _value(first, result), _value(second, result))
    blank = replace(blank, higher_is_better=result.estimate.higher_is_better)
    if not isinstance(metric, SampleMetric):
        return replace(blank, reason=f"the metric {result.name} is not installed")
    try:
        sides = [_scores(side, metric, result=result) for side in (first, second)]
    except UserError as error:
        return replace(blank, reason=str(error))
    return _paired(blank, *sides, bounds=metric.range)


def _value(side: Side, result: MetricResult) -> float | None:
    """The mean over a side's records, as they say it."""
    told = [_estimate(record, result) for record in side.records]
    values = [one.value for one in told if one is not None and one.value is not None]
    return _mean(values) if len(values) == len(told) else None


def _estimate(record: RunRecord, result: MetricResult) -> Estimate | None:
    return next((one.estimate for one in record.metrics if _key(one) == _key(result)), None)


def _scores(side: Side, metric: SampleMetric, *, result: MetricResult) -> list[Mapping[Question, Score]]:
    """By question, the score of every run of a side."""
    found: list[Mapping[Question, Score]] = []
    for answers in side.answers:
        samples = answers.of_task(result.task, attack=result.attack)
        scores = answers.scores(metric, task=result.task, profile=result.profile, attack=result.attack)
        if reads_attempts(metric):
            firsts = {sample.id: sample for sample in reversed(samples)}
            samples = [firsts[name] for name in dict.fromkeys(sample.id for sample in samples)]
        keys = [_question(one, is_single=not reads_attempts(metric)) for one in samples]
        found.append(dict(zip(keys, scores, strict=True)))
    return found


def _question(sample: Sample, *, is_single: bool) -> Question:
    """Of a metric that reads all attempts at once, without the number of the attempt."""
    return sample.id, sample.subject, sample.attempt if is_single else None, sample.question, sample.answer


def _paired(
    blank: Contrast,
    first: Sequence[Mapping[Question, Score]],
    second: Sequence[Mapping[Question, Score]],
    *,
    bounds: tuple[float, float],
) -> Contrast:
    """The difference on the questions that every run of both sides was asked and has a score for."""
    asked = [set.intersection(*(set(one) for one in side)) for side in (first, second)]
    common = [key for key in first[0] if key in asked[0] and key in asked[1]]
    used = [key for key in common if all(_is_scored(one[key]) for one in (*first, *second))]
    left = Left(len(asked[0]) - len(common), len(asked[1]) - len(common), len(common) - len(used))
    blank = replace(blank, left=left, num_questions=len(used))
    if not used:
        return replace(blank, reason="no question that both sides answered and that could be scored")
    subjects = [key[1] for key in used]
    scores = [[[float(one[key].value or 0.0) for key in used] for one in side] for side in (first, second)]
    replicates = [[mean_replicates(one, subjects, bounds=bounds) for one in side] for side in scores]
    told = _told(blank, difference(*replicates, bounds=bounds))
    return replace(told, subjects=_tally(scores, subjects, higher_is_better=blank.higher_is_better))


def _is_scored(score: Score) -> bool:
    return score.value is not None and not math.isnan(score.value)


def _tally(
    scores: Sequence[Sequence[Sequence[float]]], subjects: Sequence[str], *, higher_is_better: bool | None
) -> Tally:
    """Subjects by which side has the better mean over questions and seeds."""
    sums: dict[str, list[float]] = defaultdict(list)
    for place, subject in enumerate(subjects):
        own, other = (_mean([one[place] for one in side]) for side in scores)
        sums[subject].append(other - own)
    gains = [_mean(one) * (-1.0 if higher_is_better is False else 1.0) for one in sums.values()]
    wins, losses = sum(gain > EQUAL for gain in gains), sum(gain < -EQUAL for gain in gains)
    return Tally(wins, len(gains) - wins - losses, losses)


def _told(blank: Contrast, found: Difference) -> Contrast:
    return replace(
        blank,
        first=found.first, second=found.second, value=found.value, low=found.low, high=found.high,
        p_value=found.p_value, num_subjects=found.num_subjects, reason=found.reason,
    )  # fmt: skip


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
