"""What `mmforget validate` tries out beyond the rows: recipes, every metric on real rows, lm_eval itself, plugins."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from mmforget.benchmark.validate import Report, faults_of
from mmforget.errors import NothingToRun, UserError

if TYPE_CHECKING:
    from mmforget.benchmark.document import AttackName, MetricUse
    from mmforget.benchmark.spec import Benchmark, Bound, TaskSpec
    from mmforget.metrics.base import Metric
    from mmforget.types import Sample

# Any finite value does: what is tried out is whether a metric can read the rows, not what it makes of a model.
LOGPROB_OF_A_WORD = -0.5
NUM_ROWS = 32
Docs = Callable[[str], list[dict[str, Any]]]
"""The rows of a set that metrics are tried on, which all of them share."""


def check_everything(bound: Bound) -> Report:
    """Faults and notes of a benchmark's recipes, metrics and tasks, each tried on real rows."""
    benchmark = bound.benchmark
    report = Report(benchmark.group)
    check_recipes(benchmark, report=report)
    check_protocol(bound, report=report)
    check_metrics(bound, report=report)
    check_tasks(bound, report=report)
    check_rankable(benchmark, report=report)
    return report


def check_rankable(benchmark: Benchmark, *, report: Report) -> None:
    """Whether any model of this benchmark can ever be ranked: that takes a forget score and a utility."""
    from mmforget.metrics.base import CompositeMetric, SampleMetric

    found = _sound_uses(benchmark)
    utility = [metric for use, metric in found if use.set == benchmark.utility_set]
    forget = [pair for pair in found if pair[0].set in (benchmark.forget_set, benchmark.rephrase_set)]
    if not any(isinstance(metric, CompositeMetric) for metric in utility):
        report.notes.append(
            "no model can ever be ranked: 'metrics' name no composite (such as model_utility) on the utility set "
            f"'{benchmark.utility_set}'"
        )
    goals = benchmark.has_retain_model
    if not any(
        isinstance(metric, SampleMetric)
        and use.headline
        and (use.goal is not None or (goals and metric.higher_is_better is not False))
        for use, metric in forget
    ):
        report.notes.append(
            f"no model can ever be ranked: 'metrics' name none on the forget set '{benchmark.forget_set}' that makes a "
            "forget score" + ("" if goals else "; without a retain model each needs a 'goal'")
        )


def _sound_uses(benchmark: Benchmark) -> list[tuple[MetricUse, Metric]]:
    """The metrics that the document uses, but for those that it names wrongly: each of these is a fault of its own."""
    from mmforget.metrics.arguments import metric_of

    found = []
    for use in benchmark.metrics:
        with contextlib.suppress(UserError):
            found.append((use, metric_of(use)))
    return found


def check_recipes(benchmark: Benchmark, *, report: Report) -> None:
    """Every recipe must be one that training understands, for each method it names."""
    from mmforget.methods.build import arguments, build
    from mmforget.training.settings import settings_from

    for name, recipe in benchmark.recipes.items():
        common = dict(recipe["unlearn"])
        methods: Mapping[str, Mapping[str, Any]] = common.pop("methods", None) or {}
        parts: dict[str, Mapping[str, Any]] = {"stage_one": recipe["stage_one"], "unlearn": common}
        parts |= {"relearn": recipe["relearn"]} if "relearn" in recipe else {}
        for part, settings in parts.items():
            _try(lambda settings=settings: settings_from(settings, {}), at=f"recipe {name}, {part}", report=report)
        for method, own in methods.items():

            def resolve(method: str = method, own: Mapping[str, Any] = own, common: Mapping[str, Any] = common) -> None:
                known = arguments(method)
                build(method, {k: v for k, v in own.items() if k in known})
                settings_from({**common, **{k: v for k, v in own.items() if k not in known}}, {})

            _try(resolve, at=f"recipe {name}, method {method}", report=report)


def check_protocol(bound: Bound, *, report: Report) -> None:
    """Whether the parts fit one another: what is forgotten is not kept, metrics are asked and point the right way."""
    benchmark = bound.benchmark
    kept = {benchmark.retain_set: "the retain set"}
    kept |= {benchmark.stage_one["retain"]: "the retain model's training"} if benchmark.has_retain_model else {}
    forgotten = _asked(bound, benchmark.forget_set)
    for name, what in kept.items():
        both = sorted({key[0] for key in forgotten & _asked(bound, name)})
        if both:
            listed = ", ".join(both[:10]) + (", ..." if len(both) > 10 else "")
            report.faults.append(f"{benchmark.group}: {what} ('{name}') holds what is to be forgotten: {listed}")
    _try(lambda: _check_uses(benchmark, report=report), at="metrics", report=report)


def _asked(bound: Bound, name: str) -> set[tuple[str, ...]]:
    """What is known of a set's rows: who they are about; where the protocol has no retain model, who never saw a
    subject, one subject may have rows of either kind, and questions and answers count, too.
    """
    rows = bound.rows(name)
    columns = ("subject",) if bound.benchmark.has_retain_model else ("subject", "question", "answer")
    return set(zip(*(rows[column][:] for column in columns), strict=True))


def _check_uses(benchmark: Benchmark, *, report: Report) -> None:
    from mmforget.metrics.base import CompositeMetric, kinds_read

    kinds = {(task.set, task.kind) for task in benchmark.tasks}
    for use, metric in _sound_uses(benchmark):
        if not isinstance(metric, CompositeMetric) and not any(
            (use.set, kind) in kinds for kind in kinds_read(metric.kind)
        ):
            never = f"{benchmark.group} has no task of kind {metric.kind} for it"
            report.notes.append(f"{use.key} on {use.set} is never measured: {never}")
        better = metric.higher_is_better
        if use.set in (benchmark.utility_set, benchmark.retain_set) and better is not None:
            right = "higher" if better else "lower"
            if use.direction not in (right, "retain_model"):
                report.faults.append(
                    f"{benchmark.group}: {use.key} on {use.set}, which is kept, has the direction "
                    f"'{use.direction}'; '{right}' is better there"
                )


def check_metrics(bound: Bound, *, report: Report) -> None:
    """Every metric of the benchmark on a few rows of its set, as if a model had answered all of them right; every
    attack on toy questions.
    """
    from mmforget.attacks.contract import check_attack
    from mmforget.attacks.naming import attack_names
    from mmforget.evaluation.collapse import failures_of

    unscored: dict[str, list[str]] = {}
    docs = cache(partial(_docs, bound=bound))
    for use in bound.benchmark.metrics:

        def score(use: MetricUse = use) -> None:
            for reason in _score(use, bound=bound, docs=docs):
                unscored.setdefault(reason, []).append(f"{use.key} on {use.set}")

        _try(score, at=f"metric {use.key}", report=report)
    _try(lambda: _check_gate(bound.benchmark), at="gate", report=report)
    if bound.benchmark.document.collapse is not None:
        _try(lambda: failures_of(bound.benchmark), at="collapse", report=report)
    for named in bound.benchmark.document.attacks:

        def check(named: AttackName = named) -> None:
            for one in attack_names([named]):
                check_attack(one.attack, one.args)

        _try(check, at=f"attack {named.key}", report=report)
    report.notes += [f"unscored with this data, {reason}: {', '.join(uses)}" for reason, uses in unscored.items()]


def _check_gate(benchmark: Benchmark) -> None:
    from mmforget.metrics.arguments import metric_of
    from mmforget.metrics.base import check_profile

    check_profile(metric_of(benchmark.gate), benchmark.gate.profile)


def check_tasks(bound: Bound, *, report: Report) -> None:
    """Every task through lm_eval: loaded, one document rendered, its right answer put through `process_results`."""
    specs = bound.benchmark.tasks
    try:
        _check_loaded(bound, specs=specs, report=report)
    except UserError:
        # One of them is broken: each by itself says which. Together they are read and indexed once.
        for spec in specs:
            try:
                _check_loaded(bound, specs=[spec], report=report)
            except UserError as error:
                report.faults += faults_of(error)


def _check_loaded(bound: Bound, *, specs: Sequence[TaskSpec], report: Report) -> None:
    """Looks at tasks as lm_eval loads them. Raises UserError before it has looked at any where one cannot be loaded."""
    from mmforget.evaluation.tasks import load_tasks
    from mmforget.lm.inside import ids_of

    sets = {spec.name: spec.set for spec in specs}
    folders = list(dict.fromkeys(spec.path.parent for spec in specs))
    try:
        loaded = load_tasks(list(sets), include_paths=folders, data=bound.data)
    except NothingToRun:  # an empty set is a note of the rows already, and broken data a fault of theirs
        return
    for name, task in loaded.tasks.items():
        if ids_of(task) != bound.column(sets[name], "id"):
            report.faults.append(f"task {name}: its rows have other ids than the set '{sets[name]}' has in training")
        _try(lambda task=task: _process(task), at=f"task {name}", report=report)


def check_plugin(name: str) -> Report | None:
    """A report on the method, metric, attack or judge of this name, tried on toy answers; None where there is none."""
    from mmforget.registry import Registry

    tries = {"method": _try_method, "metric": _try_metric, "attack": _try_attack, "judge": _try_judge}
    for kind, tried in tries.items():
        registry: Registry[object] = Registry(kind, package=f"mmforget.{kind}s", attribute=kind.upper())
        clash = registry.clashes.get(name)
        if not clash and name not in registry.names():
            continue
        report = Report(f"{kind} {name}", faults=[clash] if clash else [])
        if not clash:
            _try(lambda tried=tried: tried(name), at=f"{kind} '{name}'", report=report)
        return report
    return None


def _try_method(name: str) -> None:
    from mmforget.methods.build import build
    from mmforget.methods.contract import check_method

    check_method(build(name, {}), name=name)


def _try_metric(name: str) -> None:
    from mmforget.metrics.contract import check_metric

    check_metric(name)


def _try_attack(name: str) -> None:
    from mmforget.attacks.contract import check_attack

    check_attack(name)


def _try_judge(name: str) -> None:
    from mmforget.judges.base import label_samples, names_given
    from mmforget.judges.naming import judge_from
    from mmforget.types import Sample

    judge = judge_from(name, local_only=False)
    toy = Sample("toy", "forget", "gen", "toy", "Ann", "Who?", "Ann.", response="It is Ann.")
    label_samples([toy], labels=names_given(judge), judge=judge)


def _try(action: Any, *, at: str, report: Report) -> None:
    """Runs one check; whatever goes wrong, of whatever type, becomes a fault that says where."""
    try:
        action()
    except UserError as error:
        found = [fault if fault.startswith(at) else f"{at}: {fault}" for fault in faults_of(error)]
        report.faults += [fault for fault in found if fault not in report.faults]
    except Exception as error:
        report.faults.append(f"{at}: {type(error).__name__}: {error}")


def _score(use: MetricUse, *, bound: Bound, docs: Docs) -> list[str]:
    """Why a metric has no value on a few rows of its set, each reason once; none where it has one."""
    from mmforget.metrics.arguments import metric_of
    from mmforget.metrics.base import CompositeMetric, check_profile, unasked_profiles
    from mmforget.types import Estimate

    metric = metric_of(use)
    # What is wrong with other uses is their fault alone.
    own = replace(bound.benchmark, document=replace(bound.benchmark.document, metrics=(use,)))
    bound = replace(bound, benchmark=own)
    reasons: list[str] = []
    for profile in use.profiles or unasked_profiles(metric):
        check_profile(metric, profile)
        if isinstance(metric, CompositeMetric):
            metric.combine({part.key: Estimate(0.5) for part in metric.components}, profile=profile)
            continue
        samples = _samples(use.set, metric=metric, bound=bound, docs=docs)
        reasons += _measure(metric, samples, profile=profile, bound=bound, docs=docs)
    return list(dict.fromkeys(reasons))


def _measure(metric: Any, samples: Sequence[Sample], *, profile: str, bound: Bound, docs: Docs) -> list[str]:
    from mmforget.metrics.base import SampleMetric

    if not samples:
        return ["the set is empty"]
    if isinstance(metric, SampleMetric):
        scores = [metric.score(sample, profile=profile) for sample in samples]
        metric.aggregate(scores)
        return [] if any(score.value is not None for score in scores) else [scores[0].reason]
    others = list(samples)
    if metric.other == "holdout":
        name = bound.benchmark.holdout_set
        others = _samples(name, metric=metric, bound=bound, docs=docs) if name else []
        if not others:
            return ["there is no holdout set"]
    estimate = metric.compare(samples, others, profile=profile)
    return [] if estimate.value is not None else [estimate.reasons[0]]


def _docs(name: str, *, bound: Bound) -> list[dict[str, Any]]:
    """A few rows of a set, evenly spread over it."""
    rows = bound.rows(name)
    num = min(NUM_ROWS, len(rows))
    return [rows[number * len(rows) // num] for number in range(num)]


def _samples(name: str, *, metric: Any, bound: Bound, docs: Docs) -> list[Sample]:
    """Samples of these rows, answered with the reference, with all that a model may say of its tokens."""
    from mmforget.benchmark.rows import scored_texts
    from mmforget.benchmark.samples import sample_of
    from mmforget.metrics.base import prefix_read, statistics_read
    from mmforget.pipeline.judging import find_judge, judged
    from mmforget.types import IS_BEST, PREFIXED

    benchmark, kind = bound.benchmark, metric.kind
    told, fronts = (IS_BEST, *statistics_read(metric)), ("reference", f"{PREFIXED}/{prefix_read(metric)}")
    samples = []
    for doc in docs(name):
        texts = scored_texts(doc, kind=kind)
        logprobs = {role: _logprobs(text) for role, text in texts.items()}
        found = sample_of(
            doc,
            kind=kind,
            task=f"{benchmark.name}_{name}_{kind}",
            set_name=name,
            response=doc["answer"] if kind == "gen" else None,
            token_logprobs=logprobs
            | {f"{front}/{role}": values for front in fronts for role, values in logprobs.items()},
        )
        values = {role: (1.0,) * len(column) for role, column in logprobs.items()}
        samples.append(replace(found, token_values=dict.fromkeys(told, values)))
    return list(judged(samples, benchmark=benchmark, judge=find_judge("rules", bound=bound)).samples)


def _logprobs(text: str) -> tuple[float, ...]:
    return (LOGPROB_OF_A_WORD,) * len(text.split())


def _process(task: Any) -> None:
    from mmforget.lm.inside import unlisted_metrics
    from mmforget.types import TokenScores

    missing = unlisted_metrics(task, score=lambda text: TokenScores(_logprobs(text), is_greedy=True))
    if missing:
        raise UserError(f"process_results returns {', '.join(missing)}, which metric_list does not list")
