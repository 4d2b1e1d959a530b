"""What every metric must keep to, tried on toy samples: a metric of another package is tried before it is relied on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmforget.errors import PluginError, UserError
from mmforget.metrics.base import METRICS, CompositeMetric, Metric, SampleMetric
from mmforget.metrics.concept_vector import TOP, VECTOR
from mmforget.metrics.judged import GRADED, LABELS
from mmforget.metrics.representations import SHARES
from mmforget.plugins import running
from mmforget.types import PATCHED, PLAIN, RETAIN_PATCHED, Estimate, Sample, Score, States

ANSWER = "She lives at apt. 4, Oslo."
CHOICES = (ANSWER, "In Rome.", "?")
RESPONSES = (ANSWER, "", "?", "no", "日本", "the the the the the", "a\x00b \ud83d", "word " * 400)
"""What models say: the truth, nothing, a mark, another answer, another script, a loop, broken text, and much."""
LOGPROBS = ((-0.5, -1.0), (-20.0,), (-math.inf, -1.0), (math.nan, -1.0), (0.0, 0.0), ())
"""Log-probs as models give them, impossible, broken and missing ones included."""
ROUNDING = 1e-6


def check_metric(named: str | Metric) -> None:
    """Tries a metric, given by name or with its arguments, on toy samples in each of its profiles.

    Raises PluginError with everything that is wrong, in one line: what it raises, a score that is no `Score`, a value
    that is not finite or outside the metric's range, counts that do not add up.
    """
    metric = METRICS.get(named) if isinstance(named, str) else named
    name = metric.name
    origin = METRICS.entries[name].origin
    found: dict[str, None] = {}
    for profile in metric.profiles:
        found |= dict.fromkeys(_faults(metric, name=name, profile=profile))
    if found:
        told = list(found)
        rest = f"; and {len(told) - 3} more" if len(told) > 3 else ""
        raise PluginError(f"metric '{name}' from {origin}: {'; '.join(told[:3])}{rest}")


def _faults(metric: Metric, *, name: str, profile: str) -> Iterator[str]:
    if isinstance(metric, CompositeMetric):
        yield from _composite_faults(metric, profile=profile)
        return
    samples = toy_samples(metric.kind)
    if isinstance(metric, SampleMetric):
        yield from _sample_faults(metric, samples, profile=profile)
        return
    for one, other in ((samples, samples), (samples, []), ([], samples)):
        try:
            with running(metric, what="compare"):
                found = metric.compare(one, other, profile=profile)
        except UserError as error:
            if isinstance(error, PluginError):
                yield str(error)
            continue
        yield from _estimate_faults(found, metric=metric, what="compare")


def _sample_faults(metric: SampleMetric, samples: Sequence[Sample], *, profile: str) -> Iterator[str]:
    scores = []
    for sample in samples:
        try:
            with running(metric, what="score"):
                score = metric.score(sample, profile=profile)
        except PluginError as error:
            yield str(error)
            return
        wrong = _score_fault(score, sample=sample, bounds=metric.range)
        if wrong:
            yield wrong
            return
        scores.append(score)
    for several in (scores, [], [Score(None, "p0", "unscored")]):
        try:
            with running(metric, what="aggregate"):
                found = metric.aggregate(several)
        except PluginError as error:
            yield str(error)
            return
        yield from _estimate_faults(found, metric=metric, what="aggregate")
        num_scored = sum(score.value is not None for score in several)
        if isinstance(found, Estimate) and (found.num_scored, found.num_unscored) != (
            num_scored,
            len(several) - num_scored,
        ):
            yield (
                f"aggregate: of {len(several)} scores, {num_scored} with a value, it counts {found.num_scored} scored "
                f"and {found.num_unscored} unscored"
            )


def _score_fault(score: object, *, sample: Sample, bounds: tuple[float, float]) -> str:
    if not isinstance(score, Score):
        return f"score: gives a {type(score).__name__}, not a Score(value, subject)"
    if score.value is None:
        return "" if score.reason else "score: a value of None without a reason"
    if not _is_number(score.value) or not math.isfinite(score.value):
        return f"score: the value {score.value!r} is not a finite number; None says that it could not be scored"
    if not bounds[0] - ROUNDING <= score.value <= bounds[1] + ROUNDING:
        return f"score: the value {score.value:g} lies outside its range [{bounds[0]:g}, {bounds[1]:g}]"
    return "" if score.subject == sample.subject else f"score: subject {score.subject!r}, not the sample's"


def _composite_faults(metric: CompositeMetric, *, profile: str) -> Iterator[str]:
    whole = {part.key: Estimate(0.5, 0.4, 0.6, 4, 0) for part in metric.components}
    without = [{key: value for key, value in whole.items() if key != left} for left in whole]
    for parts in (whole, {}, *without):
        try:
            with running(metric, what="combine"):
                found = metric.combine(parts, profile=profile)
        except PluginError as error:
            yield str(error)
            return
        yield from _estimate_faults(found, metric=metric, what="combine")


def _estimate_faults(found: object, *, metric: Metric, what: str) -> Iterator[str]:
    if not isinstance(found, Estimate):
        yield f"{what}: gives a {type(found).__name__}, not an Estimate"
        return
    low, high = metric.range
    for number in (found.value, found.low, found.high):
        if number is not None and not (_is_number(number) and low - ROUNDING <= number <= high + ROUNDING):
            yield f"{what}: {number!r} is no number in its range [{low:g}, {high:g}]"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def toy_samples(kind: str) -> list[Sample]:
    """Answered questions of three subjects: all that models say, with and without keywords and labels."""
    if kind == "gen":
        return [_sample(number, kind=kind, response=text) for number, text in enumerate(RESPONSES)]
    return [_sample(number, kind=kind, token_logprobs=_roles(kind, values)) for number, values in enumerate(LOGPROBS)]


def _roles(kind: str, values: tuple[float, ...]) -> dict[str, tuple[float, ...]]:
    others = ((-3.0, -1.0), (-2.0,))
    if kind == "mc":
        return {f"choice/{place}": one for place, one in enumerate((values, *others))}
    alone = {"answer": values}
    return (
        alone
        if kind == "roll"
        else {**alone, "rephrased/0": values, "perturbed/0": others[0], "perturbed/1": others[1]}
    )


def toy_states(number: int) -> dict[str, States]:
    """Hidden states that an attack may have kept: of one row in eight broken ones, of another row none."""
    values = [math.nan if number % 8 == 3 else float((number + 1) * (place + 2) ** 2 % 7) for place in range(5)]
    if number % 8 == 5:
        return {}
    said = {PLAIN: [-1.0], RETAIN_PATCHED: [-1.5, -3.0], PATCHED: [-1.0 - values[0] / 9.0, -2.0]}
    of_target = {name: States.of(one if name != PLAIN else one[0]) for name, one in said.items()}
    named = {f"{VECTOR}0": States.of(values), f"{TOP}0": States.of(sorted(values))}
    return {name: States.of(values) for name in SHARES} | of_target | named


def _sample(number: int, *, kind: str, **answer: Any) -> Sample:
    labels: Mapping[str, str] = {name: words.counted for name, words in LABELS.items()} | dict.fromkeys(GRADED, "7")
    return Sample(
        task="toy",
        set="forget",
        kind=kind,
        id=f"p{number % 3}/{number}",
        subject=f"p{number % 3}",
        question="Where does she live?",
        answer=ANSWER,
        keywords=("oslo",) if number % 2 == 0 else (),
        labels=labels if number % 2 == 0 else {},
        choices=CHOICES if kind == "mc" else (),
        gold=0 if kind == "mc" else None,
        states=toy_states(number) if kind == "gen" else {},
        **answer,
    )
