"""Whether a model still answers at all: every set that was asked is looked at, the forget set included.

A model that babbles, loops, repeats itself or is silent where it was to forget has not shown that it forgot, however
little it discloses. What target and retain model do as well is no collapse.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeGuard

from mmforget.benchmark.document import MetricName, MetricUse
from mmforget.benchmark.spec import Benchmark
from mmforget.errors import UserError
from mmforget.evaluation.headline import utility_of, utility_ratio
from mmforget.evaluation.measurements import Measurements
from mmforget.evaluation.samples import BLANK_IMAGE
from mmforget.evaluation.wording import MIN_WORDS, familiar_share, pairs_of, word_pairs
from mmforget.metrics.arguments import metric_of
from mmforget.metrics.base import Metric, SampleMetric, counts_failures, profile_of
from mmforget.metrics.refusals import is_refusal
from mmforget.metrics.responses import normalised, words
from mmforget.results.rules import Finding, finding
from mmforget.types import Sample

MAX_FAILURE_RATE = 0.5
"""More failed answers than this on a set, above the references' own rate, is a collapse."""
ALWAYS_COUNTED = MetricName("degenerate")
"""The failures that a benchmark counts whose document does not say which; others where it names a metric of them."""
MIN_UTILITY_RATIO = 0.2
"""Less of the target's utility than this is a collapse."""
MIN_FAMILIAR = 0.1
"""Of a model's word pairs that others use: sentences have .12 and more (of other fine-tuned models' answers .19 to .58,
of refusals .13 to .35, each against the references and answers about TOFU's authors), words put together at random .09
and less."""
MAX_SAME = 0.9
"""More equal answers in a set than this, where the references have half as many, is one answer to everything."""
MIN_BLENDED = 0.75
"""Of an answer's word pairs that stand in the benchmark's refusals: from here it is a refusal made of several."""
MIN_CHANGE = 0.01
"""Nats a token by which log-probs differ more than the order of computation makes them."""
MIN_SIGHT = 0.05
"""Of the target's share of answers that change when pictures are replaced by grey: less is blind."""


class Models(NamedTuple):
    """The model that is ruled on and those it is compared with, as far as there are any."""

    own: Measurements
    target: Measurements | None
    retain: Measurements | None

    @property
    def references(self) -> list[Measurements]:
        return [model for model in (self.target, self.retain) if model is not None]


def signs_of_collapse(
    benchmark: Benchmark,
    samples: Sequence[Sample],
    *,
    target: Sequence[Sample] | None,
    retain: Sequence[Sample] | None = None,
) -> tuple[Finding, ...]:
    """Why the model counts as collapsed; empty where it does not.

    It has collapsed where any log-prob is NaN; where most answers of any set are failures (by `degenerate` or another
    metric of the document that counts these); where its answers to a set are no sentences, or one and the same; where
    they do not depend on the pictures; or where less than a fifth of the target's utility is left.
    """
    model = Measurements(benchmark, samples, target=target)
    before = None if target is None else Measurements(benchmark, target, target=target)
    gold = None if retain is None else Measurements(benchmark, retain, target=target)
    models = Models(model, before, gold)
    found = [*_nan_signs(model), *_failure_signs(models), *_wording_signs(models), *_sameness_signs(models)]
    if before is not None:
        found += [*_blindness_signs(model, target=before), *_utility_signs(model, target=before)]
    return tuple(found)


def _nan_signs(model: Measurements) -> Iterator[Finding]:
    scored = [sample for sample in model.samples if sample.token_logprobs and sample.attack is None]
    for name in dict.fromkeys(sample.set for sample in scored):
        own = [sample for sample in scored if sample.set == name]
        broken = sum(any(math.isnan(v) for part in sample.token_logprobs.values() for v in part) for sample in own)
        if broken:
            yield finding("nan_logprobs", f"{broken} of {len(own)} answers of the {name} set have NaN log-probs")


def _failure_signs(models: Models) -> Iterator[Finding]:
    for key, metric in failures_of(models.own.benchmark).items():
        for set_name in _answered_sets(models.own):
            rate = _rate(models.own, metric, set_name=set_name)
            base = max((_rate(model, metric, set_name=set_name) or 0.0 for model in models.references), default=0.0)
            if rate is not None and rate > MAX_FAILURE_RATE and rate > base:
                yield finding("failed_answers", f"{rate:.0%} of the answers on the {set_name} set count as {key}")


def failures_of(benchmark: Benchmark) -> dict[str, SampleMetric]:
    """The metrics whose failures count for collapse, by key: what the document names, never what is only installed.

    Where it does not say, `degenerate` and every other metric of it that counts failures and has no goal.

    Raises UserError where it names one that is no rate of failures.
    """
    document, name = benchmark.document, benchmark.name
    if document.collapse is not None:
        named = {one.key: metric_of(one, document=name) for one in document.collapse}
        return {key: metric for key, metric in named.items() if _is_rate(metric, key=key, document=name)}
    wanted = {use.key for use in document.metrics if use.goal is not None}
    candidates: tuple[MetricName | MetricUse, ...] = (ALWAYS_COUNTED, *document.metrics)
    known = {one.key: metric_of(one, document=name) for one in candidates}
    return {key: metric for key, metric in known.items() if key not in wanted and counts_failures(metric)}


def _is_rate(metric: Metric, *, key: str, document: str) -> TypeGuard[SampleMetric]:
    if not counts_failures(metric):
        raise UserError(
            f"collapse in the document of {document}: '{key}' is no rate of failures among generated answers, as "
            "'degenerate' is: a metric of kind gen, from 0 to 1, lower is better, without a judge's label"
        )
    return True


def _rate(model: Measurements, metric: SampleMetric, *, set_name: str) -> float | None:
    tasks = model.tasks(set_name, metric.kind)
    if not tasks:
        return None
    return model.estimate(metric, task=tasks[0], profile=profile_of(metric, "clean")).value


def _wording_signs(models: Models) -> Iterator[Finding]:
    """Sets whose answers are words put together at random, told by the pairs that all others put together."""
    if models.target is None:
        return
    benchmark = models.own.benchmark
    texts = [*benchmark.refusals, *(text for sample in models.own.samples for text in (sample.question, sample.answer))]
    texts += [sample.response or "" for model in models.references for sample in model.samples]
    known = pairs_of(texts)
    for set_name in _answered_sets(models.own):
        told = [sample.response or "" for sample in _answers(models.own, set_name)]
        long = [text for text in told if len(words(text)) >= MIN_WORDS]
        share = familiar_share([text for text in long if not _refuses(text, benchmark=benchmark)], known=known)
        if share is not None and share < MIN_FAMILIAR and len(long) >= MAX_FAILURE_RATE * len(told):
            text = f"the answers on the {set_name} set are no sentences: {share:.0%} of their word pairs are known"
            yield finding("no_sentences", text)


def _sameness_signs(models: Models) -> Iterator[Finding]:
    """Sets with one answer to everything where the references have several.

    Only a retain model tells what a model says that never knew, so without one the sets to forget are passed over, as
    are refusals.
    """
    benchmark = models.own.benchmark
    for set_name in _answered_sets(models.own):
        if not models.references or (models.retain is None and set_name != benchmark.utility_set):
            continue
        most, share = _most_common(models.own, set_name)
        base = max(_most_common(model, set_name)[1] for model in models.references)
        if share > MAX_SAME and base <= share / 2 and not _refuses(most, benchmark=benchmark):
            yield finding("one_answer", f"{share:.0%} of the answers on the {set_name} set are one and the same")


def _most_common(model: Measurements, set_name: str) -> tuple[str, float]:
    told = Counter(normalised(sample.response or "") for sample in _answers(model, set_name))
    most, count = told.most_common(1)[0] if told else ("", 0)
    return most, count / max(1, told.total())


def _refuses(text: str, *, benchmark: Benchmark) -> bool:
    """A refusal, or a blend of several: a small model that learned many says `I am not know who this is`."""
    blended = familiar_share([text], known=word_pairs(benchmark.refusals))
    return is_refusal(text, refusals=benchmark.refusals) or (blended is not None and blended >= MIN_BLENDED)


def _blindness_signs(model: Measurements, *, target: Measurements) -> Iterator[Finding]:
    """Where nothing changes when pictures are replaced by grey, though much does for the target."""
    seen = [(_sight(model, kind=kind), _sight(target, kind=kind)) for kind in ("gen", "prob", "mc")]
    pairs = [(own, base) for own, base in seen if own is not None and base]
    if pairs and all(own < MIN_SIGHT * base for own, base in pairs):
        own, base = pairs[0]
        text = f"blind: {own:.0%} of its answers change where pictures turn grey, {base:.0%} of the target's"
        yield finding("blind", text)


def _sight(model: Measurements, *, kind: str) -> float | None:
    """Share of answers that change with grey pictures: their text, or their log-probs by more than noise."""
    grey = {(s.task, s.id, s.subject): s for s in model.samples if s.attack == BLANK_IMAGE and s.kind == kind}
    plain = {(s.task, s.id, s.subject): s for s in model.samples if s.attack is None}
    both = [(shown, grey[key]) for key, shown in plain.items() if key in grey]
    changes = [_change(shown, hidden) for shown, hidden in both]
    known = [change for change in changes if change is not None]
    return math.fsum(known) / len(known) if known else None


def _change(shown: Sample, hidden: Sample) -> float | None:
    if shown.response is not None and hidden.response is not None:
        return float(normalised(shown.response) != normalised(hidden.response))
    pairs = [(shown.token_logprobs.get(role), hidden.token_logprobs.get(role)) for role in shown.token_logprobs]
    means = [(sum(a) / len(a), sum(b) / len(b)) for a, b in pairs if a and b]
    known = [abs(a - b) for a, b in means if math.isfinite(a - b)]
    return float(max(known) > MIN_CHANGE) if known else None


def _utility_signs(model: Measurements, *, target: Measurements) -> Iterator[Finding]:
    own, base = utility_of(model).value, utility_of(target).value
    ratio = utility_ratio(model, target=target).estimate.value
    if own is None or not base or ratio is None or ratio >= MIN_UTILITY_RATIO:
        return
    if own < MIN_UTILITY_RATIO * base:
        text = f"utility {own:.3f} is under {MIN_UTILITY_RATIO:.0%} of the target model's {base:.3f}"
    else:
        text = f"{ratio:.0%} is left of what pictures add to the target model's utility, under {MIN_UTILITY_RATIO:.0%}"
    yield finding("utility_lost", text)


def _answered_sets(model: Measurements) -> list[str]:
    """The sets that were asked for generated answers."""
    return list(dict.fromkeys(s.set for s in model.samples if s.response is not None and s.attack is None))


def _answers(model: Measurements, set_name: str) -> list[Sample]:
    tasks = model.tasks(set_name, "gen")
    return [one for one in model.of_task(tasks[0].name) if one.response is not None] if tasks else []
