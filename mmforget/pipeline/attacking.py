"""Attacks on models by name: what `mmforget attack` does."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mmforget import parallel
from mmforget.benchmark.spec import Bound
from mmforget.evaluation.attack import AttackOutcome, AttackResult, attackable, attacked, compared
from mmforget.evaluation.attempting import Helpers
from mmforget.evaluation.plan import Evaluations, plan
from mmforget.evaluation.probes import Probes, Target
from mmforget.lm.adapter import MMForgetLM
from mmforget.model.spec import ModelSpec
from mmforget.pipeline.asked import response_cache, settings_of
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.features import run_features
from mmforget.pipeline.helping import ask_target, attacker_of, helped_by, probes_file
from mmforget.pipeline.models import Models
from mmforget.pipeline.plan import check_attacks, check_models, resolve
from mmforget.pipeline.stage_one import prepare
from mmforget.pipeline.workers import threads_of
from mmforget.results.codec import to_jsonable
from mmforget.results.files import prepare_folder, write_json
from mmforget.results.samples import write_samples
from mmforget.results.store import safe_name, timestamp
from mmforget.types import Progress


@dataclass(frozen=True)
class AttackPlan:
    """Which models are attacked on which benchmarks.

    Attributes:
        config: what was asked for.
        benchmarks: each with its data and what every model is asked.
        models: names of the models, in the order in which they are attacked.
    """

    config: RunConfig
    benchmarks: tuple[tuple[Bound, Evaluations], ...]
    models: tuple[str, ...]


Found = Mapping[str, list[AttackResult]]
"""Results by model."""


def make_attack_plan(config: RunConfig) -> AttackPlan:
    """Raises UserError, UnknownName and PluginError for whatever would stop the attacks, but what loading shows."""
    check_models(config)
    named = {"target": config.target_model, "retain": config.retain_model}
    models = ("model", *(name for name, spec in named.items() if spec is not None))
    found = []
    for bound in resolve(config):
        check_attacks(config, bound=bound)
        asked = set(attackable(bound.benchmark, config.attacks))
        tasks = tuple(task for task in bound.benchmark.tasks if task.name in asked)
        bound = replace(bound, benchmark=replace(bound.benchmark, tasks=tasks))
        steps = plan(bound, models=models, limit=config.limit, blank_image=False, attacks=config.attacks)
        found.append((bound, steps))
    return AttackPlan(config, tuple(found), models)


def attack_models(made: AttackPlan, *, progress: Progress) -> dict[str, Found]:
    """By benchmark and model, what the attacks come to; answers and results lie in the output folder, if any."""
    found: dict[str, Found] = {}
    with ExitStack() as held:
        held.enter_context(threads_of(made.config))
        if made.config.output_path:
            parallel.on_main(lambda: prepare_folder(made.config.output))
        for bound, _ in made.benchmarks:
            outcomes = _attacked(made, bound=bound, progress=progress)
            found[bound.benchmark.group] = {name: outcome.results for name, outcome in outcomes.items()}
            if made.config.output_path:
                folder = made.config.output / safe_name(bound.benchmark.group)
                parallel.on_main(partial(_store, folder, outcomes))
    return found


def _attacked(made: AttackPlan, *, bound: Bound, progress: Progress) -> dict[str, AttackOutcome]:
    config, models = made.config, Models()
    settings = replace(settings_of(config), attacks=config.attacks)
    cache = response_cache(config)
    helpers = _helpers(config, bound=bound, models=models, progress=progress)
    found: dict[str, AttackOutcome] = {}
    # The retain model first: attacks may put its states into the target model.
    for name in reversed(made.models):
        retain = found["retain"].samples if "retain" in found else ()
        loaded = models.get(_spec(name, config=config, bound=bound, models=models, progress=progress))
        lm = MMForgetLM(loaded, batch_size=config.batch_size, cache=cache, features=run_features(config))
        told = _named(progress, name=f"{bound.benchmark.group}: {name}")
        found[name] = attacked(
            lm, bound, settings=replace(settings, retain=retain, helpers=helpers), include_paths=config.include_path,
            limit=config.limit, progress=told,
        )  # fmt: skip
    others = {name: found[name].samples for name in ("target", "retain") if name in found}
    return {name: compared(found[name], bound.benchmark, **others) for name in made.models}


def _helpers(config: RunConfig, *, bound: Bound, models: Models, progress: Progress) -> Helpers:
    """Whom attacks ask besides. The target model, which the micro model is unless one is named, answers now."""
    probes = Probes(probes_file(config, bound=bound) if config.output_path else None)
    target = "target" if config.target_model is not None else "model" if config.model == "micro" else None
    if target is not None and helped_by(config, bound=bound, helper="target"):
        spec = _spec(target, config=config, bound=bound, models=models, progress=progress)
        told = _named(progress, name=f"{bound.benchmark.group}: {target}")
        ask_target(spec, config=config, bound=bound, rows=None, probes=probes, models=models, progress=told)
    return Helpers(Target(probes), attacker_of(config, bound=bound))


def _spec(name: str, *, config: RunConfig, bound: Bound, models: Models, progress: Progress) -> ModelSpec:
    given = {"target": config.target_model, "retain": config.retain_model}.get(name)
    if given is not None:
        return given
    if config.model != "micro":
        return config.with_pretrained(None)
    return prepare(config, bound=bound, role="target", models=models, progress=progress).spec


def _named(progress: Progress, *, name: str) -> Progress:
    return lambda done, total, label: progress(done, total, f"{name}: {label}")


def _store(folder: Path, outcomes: Mapping[str, AttackOutcome]) -> None:
    files: dict[str, Any] = {}
    for name, outcome in outcomes.items():
        files[name] = write_samples(folder / name, outcome.samples, model=name)
    document = {name: to_jsonable(outcome.results).value for name, outcome in outcomes.items()}
    write_json(folder / f"attacks_{timestamp()}.json", {"attacks": document, "files": files})
