"""The plan: what was typed, turned once into the things that a run then works with. `--dry-run` prints it.

A plan that can be made can be carried out: names, values, rows, metrics, judges and the code of plugins have been
looked at before the first second of work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mmforget.attacks.base import build_attack
from mmforget.attacks.contract import check_attack
from mmforget.benchmark.find import find_all
from mmforget.benchmark.instances import instances_of
from mmforget.benchmark.requests import requests_of
from mmforget.benchmark.source import DataSource
from mmforget.benchmark.spec import Bound
from mmforget.errors import UserError
from mmforget.evaluation.plan import Evaluations
from mmforget.evaluation.plan import plan as evaluations
from mmforget.evaluation.retraining import require_rows
from mmforget.evaluation.rewriting import require_attacker
from mmforget.model.load import check_place
from mmforget.pipeline.bases import check_base, require_named, require_target
from mmforget.pipeline.checking import attacks_of, check_document
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.dividing import (
    check_watched,
    division_of,
    is_watched,
    told_rows,
    tuning_rows,
    validation_rows,
)
from mmforget.pipeline.helping import check_attacker
from mmforget.pipeline.instances import check_alone
from mmforget.pipeline.measuring import is_one_at_a_time, judge_of
from mmforget.pipeline.recipes import MethodPlan, method_plans, shared_arguments
from mmforget.pipeline.relearning import relearn_settings, relearned_name
from mmforget.pipeline.requests import between_of
from mmforget.pipeline.stage_one import Role, stage_one_settings
from mmforget.pipeline.trials import Trials, trials_of
from mmforget.pipeline.unlearning import check_material
from mmforget.pipeline.workers import num_workers
from mmforget.results.deciding import ACCESS
from mmforget.results.provenance import model_name
from mmforget.training.hf_arguments import trackers_of


@dataclass(frozen=True)
class ReferenceModel:
    """A target or retain model that the run makes or is given.

    Attributes:
        seed: of its training, where `--stage_one_seeds` says one.
    """

    role: Role
    seed: int | None = None

    @property
    def label(self) -> str:
        """For progress and plans, e.g. `retain, seed 1`."""
        return self.role if self.seed is None or self.role == "target" else f"{self.role}, seed {self.seed}"


class PlannedRequest(NamedTuple):
    """One of several requests: how many subjects it forgets, and in how many rows."""

    number: int
    num_subjects: int
    num_rows: int


@dataclass(frozen=True)
class BenchmarkPlan:
    """What a run does with one benchmark, in this order.

    Attributes:
        references: the target, then the retain models; none where one method is trained on one model and no more.
        methods: with each of the seeds.
        evaluations: every task that every model is asked; None where none is.
        num_instances: subjects that each method forgets one at a time; None where it does not.
        requests: what each method forgets one part after another; empty where it does not.
        watched: how rows are divided for looks at methods while they train or to choose their settings, and how many
            rows of each task are in which part; empty where they are not.
        trials: the settings that are tried of each method, of which the best goes on with each of the seeds; empty
            where `methods` are carried out as they are.
    """

    bound: Bound
    references: tuple[ReferenceModel, ...]
    methods: tuple[MethodPlan, ...]
    evaluations: Evaluations | None
    num_instances: int | None = None
    requests: tuple[PlannedRequest, ...] = ()
    watched: Mapping[str, Any] = field(default_factory=dict)
    trials: tuple[Trials, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A whole run.

    Attributes:
        config: what was asked for.
    """

    config: RunConfig
    benchmarks: tuple[BenchmarkPlan, ...]

    def as_dict(self) -> list[dict[str, Any]]:
        """Plain JSON values, one entry a benchmark."""
        return [
            {**_what(one, config=self.config), "methods": [method.as_dict() for method in one.methods]}
            for one in self.benchmarks
        ]

    def text(self) -> str:
        """The same as lines for people."""
        lines = []
        for one in self.benchmarks:
            trained = "" if one.evaluations is not None else _training_text(_what(one, config=self.config))
            lines.append(one.evaluations.text() if one.evaluations is not None else trained)
            if one.num_instances is not None:
                lines.append(f"  each method forgets {one.num_instances} subjects, one at a time")
            lines += [_request_text(request, of=len(one.requests)) for request in one.requests]
            lines += [f"  {line}" for line in _watched_text(one.watched)]
            lines += [f"  {line}" for trials in one.trials for line in trials.text()]
            lines += [f"  method {method.label}: {_settings(method.as_dict())}" for method in one.methods]
        return "\n".join(lines)


def make_plan(config: RunConfig, *, evaluates: bool = True) -> Plan:
    """The plan of a run, or of one training where nothing is evaluated.

    Raises UserError, UnknownName and PluginError for whatever would stop the run.
    """
    found = resolve(config)
    if not evaluates and len(found) != 1:
        raise UserError(f"{', '.join(config.tasks)} means {len(found)} benchmarks or settings; name one of them")
    check_models(config)
    num_workers(config)
    return Plan(config, tuple(_plan(config, bound=one, evaluates=evaluates) for one in found))


def resolve(config: RunConfig) -> list[Bound]:
    """The benchmarks that `--tasks` names, with their data. Raises UserError and UnknownName before any work starts."""
    data = DataSource.parse(config.data, config.model, metadata=config.metadata)
    return [benchmark.bind(data) for benchmark in find_all(config.tasks, config.include_path)]


def _plan(config: RunConfig, *, bound: Bound, evaluates: bool) -> BenchmarkPlan:
    methods = tuple(_checked(config, bound=bound))
    if not evaluates:
        for method in methods:
            require_named(config, plan=method)
        return BenchmarkPlan(bound, (), methods, None)
    require_target(config)
    references = tuple(_references(config, bound=bound))
    names = [*(one.label for one in references), *(method.label for method in methods)]
    if bound.benchmark.relearn_set is not None:
        relearning = [references[0].label, *(one.label for one in methods if not hasattr(one.method, "guard"))]
        names += map(relearned_name, relearning)
    is_alone = is_one_at_a_time(config, bound=bound)
    num_instances = len(instances_of(bound).names) if is_alone else None
    guarded = [method.label for method in methods if hasattr(method.method, "guard")]
    asked = evaluations(bound, models=names, limit=config.limit, attacks=config.attacks, guarded=guarded)
    requests, watched = _requests(config, bound=bound), _watched(config, bound=bound)
    trials = _trials(config, bound=bound)
    return BenchmarkPlan(bound, references, methods, asked, num_instances, requests, watched, trials)


def _trials(config: RunConfig, *, bound: Bound) -> tuple[Trials, ...]:
    if config.tune is None:
        return ()
    return tuple(trials_of(name, config=config, benchmark=bound.benchmark) for name in config.methods)


def _requests(config: RunConfig, *, bound: Bound) -> tuple[PlannedRequest, ...]:
    if config.requests is None:
        return ()
    found = requests_of(bound, config.requests)
    return tuple(PlannedRequest(one.number, len(one.subjects), one.num_rows(bound)) for one in found)


def _watched(config: RunConfig, *, bound: Bound) -> dict[str, Any]:
    division = division_of(config, bound=bound)
    if division is None:
        return {}
    rows_of = validation_rows if config.tune is None else tuning_rows
    parts = {"validation": rows_of(config, division=division), "test": told_rows(config, division=division)}
    counts = {part: {task: len(places) for task, places in rows.items()} for part, rows in parts.items()}
    every = {"every": config.training["eval_steps"]} if is_watched(config) else {}
    return {**division.describe(), **every, "rows": counts}


def _references(config: RunConfig, *, bound: Bound) -> list[ReferenceModel]:
    """No retain model where the protocol has none and none was given."""
    target = ReferenceModel("target", next(iter(config.stage_one_seeds), None))
    if not bound.benchmark.has_retain_model and config.retain_model is None:
        return [target]
    return [target, *(ReferenceModel("retain", seed) for seed in config.stage_one_seeds or (None,))]


def _checked(config: RunConfig, *, bound: Bound) -> list[MethodPlan]:
    """All methods with all seeds: names, arguments and what they ask about are looked at."""
    check_document(bound.benchmark)
    if config.requests is not None:
        _check_requests(config, bound=bound)
    stage_one_settings(config, benchmark=bound.benchmark)
    if bound.benchmark.relearn_set is not None:
        relearn_settings(config, benchmark=bound.benchmark)
    judge_of(config, bound=bound)
    shared_arguments(config)
    plans = method_plans(config, benchmark=bound.benchmark)
    check_watched(config, bound=bound, alone=is_one_at_a_time(config, bound=bound))
    for plan in plans:
        if plan.settings.eval_steps is not None and not is_watched(config):
            raise UserError(
                f"method '{plan.name}' has eval_steps={plan.settings.eval_steps} in its recipe, and whether rows are "
                "set aside for that is for the whole run to say; give --eval_steps N"
            )
        trackers_of(plan.settings)
        is_alone = is_one_at_a_time(config, bound=bound)
        check_material(plan, bound=bound, alone=is_alone)
        check_base(plan, config=config, bound=bound)
        if is_alone:
            check_alone(plan)
        if config.requests is not None:
            between_of(plan, asked=config.between)
    check_attacks(config, bound=bound, plans=plans)
    return plans


def _check_requests(config: RunConfig, *, bound: Bound) -> None:
    """Raises UserError where what is to be forgotten cannot be divided so, or the target's weights hold no changes."""
    if is_one_at_a_time(config, bound=bound):
        raise UserError(
            f"{bound.benchmark.group} forgets each subject alone, and puts the model back after each; leave --requests "
            "out"
        )
    requests_of(bound, int(config.requests or 0))
    start = config.target_model or config.base
    if config.between != "stacked" and start is not None and start.is_quantised:
        raise UserError(
            f"--requests {config.requests} merges each request's adapter into the weights, and those of "
            f"{model_name(start.pretrained)} are quantised, where small changes round to none; give --between stacked"
        )


def check_attacks(config: RunConfig, *, bound: Bound, plans: Sequence[MethodPlan] = ()) -> None:
    """Proves that the attacks can be made, before any model is there.

    Raises UserError for one of the run's own that looks into a model or trains it where all methods put a guard before
    theirs, for one for which the benchmark has not the rows, and what `check_attack` raises.
    """
    if config.attacker is not None:
        check_attacker(config.attacker)
    guards = [plan.name for plan in plans if hasattr(plan.method, "guard")]
    has_only_guards = bool(guards) and len(guards) == len(plans)
    for one in attacks_of(config, benchmark=bound.benchmark):
        check_attack(one.attack, one.args)
        made = build_attack(one.attack, one.args)
        require_attacker(one.key, made, is_there=config.attacker is not None)
        if not is_one_at_a_time(config, bound=bound):
            require_rows(bound, attack=made, key=one.key)
        if has_only_guards and one in config.attacks and made.access != "black_box":
            raise UserError(
                f"attack '{one.key}' needs a model's {ACCESS[made.access]}, and method '{guards[0]}' puts a guard "
                "before the model; run them without each other"
            )


def check_models(config: RunConfig) -> None:
    """Raises UserError for a model that is named and cannot be there, before another is trained or asked."""
    for spec in (config.target_model, config.retain_model, config.base):
        if spec is not None:
            check_place(spec)
            spec.target_device()


def _what(plan: BenchmarkPlan, *, config: RunConfig) -> dict[str, Any]:
    """Every evaluation, or the one training: on which model, with how many rows of which set."""
    if plan.evaluations is not None:
        alone = {} if plan.num_instances is None else {"one_at_a_time": plan.num_instances}
        requests = {"requests": [one._asdict() for one in plan.requests]} if plan.requests else {}
        watched = {"validation": dict(plan.watched)} if plan.watched else {}
        trials = {"tune": {one.name: one.as_dict() for one in plan.trials}} if plan.trials else {}
        return plan.evaluations.as_dict() | alone | requests | watched | trials
    bound = plan.bound
    named = "the micro model's target" if config.base is None else model_name(config.base.pretrained)
    sets = bound.benchmark.trained_sets.values()
    return {"benchmark": bound.benchmark.group, "model": named, "rows": {name: bound.num_rows(name) for name in sets}}


def _request_text(request: PlannedRequest, *, of: int) -> str:
    subjects = "1 subject" if request.num_subjects == 1 else f"{request.num_subjects} subjects"
    return f"  request {request.number} of {of}: {subjects}, {request.num_rows} rows to forget"


def _watched_text(watched: Mapping[str, Any]) -> list[str]:
    if not watched:
        return []
    rows = ", ".join(f"{num} of {task}" for task, num in watched["rows"]["validation"].items())
    what = f"every {watched['every']} updates methods are looked at" if "every" in watched else "trials are compared"
    return [
        f"{what} on the validation part, {watched['share']:.0%} of the subjects of each set by seed {watched['seed']} "
        f"({rows} questions), which no record tells of"
    ]


def _training_text(what: Mapping[str, Any]) -> str:
    rows = ", ".join(f"{count} rows of the {name} set" for name, count in what["rows"].items())
    return f"{what['benchmark']}: unlearn from {what['model']} with {rows}"


def _settings(plan: Mapping[str, Any]) -> str:
    """Arguments and training settings as `key=value`, those that are off left out."""
    flat = {**plan["args"], **{k: v for k, v in plan["settings"].items() if k != "lora"}}
    flat |= {f"lora_{key}": value for key, value in (plan["settings"].get("lora") or {}).items()}
    return ", ".join(f"{key}={value}" for key, value in flat.items() if value is not None)
