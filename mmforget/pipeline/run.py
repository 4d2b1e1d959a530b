"""The whole run of a benchmark: target and retain model, memorisation gate, every method, records, leaderboard.

Every stage leaves its result in the output folder and is skipped when found there, so the same command continues
after Ctrl-C or a kill and ends with the same numbers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mmforget import parallel
from mmforget.arguments import arguments_in
from mmforget.benchmark.find import find_all
from mmforget.benchmark.source import DataSource
from mmforget.benchmark.spec import Bound
from mmforget.errors import UserError
from mmforget.model.load import check_place
from mmforget.model.spec import ModelSpec
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.measuring import check_metrics, judge_of
from mmforget.pipeline.models import Models
from mmforget.pipeline.recipes import MethodPlan, method_plans, shared_arguments
from mmforget.pipeline.records import measure_methods, measure_references
from mmforget.pipeline.stage_one import Role, StageOne, base_model, given_spec, prepare, stage_one_settings
from mmforget.pipeline.unlearning import check_material, forget_with
from mmforget.pipeline.workers import Workers, num_workers, threads_of, workers
from mmforget.reading import read_text
from mmforget.results.files import alone_in, prepare_folder, write_text
from mmforget.results.schema import GateResult
from mmforget.results.store import CONFIG_NAME, safe_name, write_config
from mmforget.training.hf_arguments import trackers_of

Progress = Callable[[int, int, str], None]
Say = Callable[[str], None]


def resolve(config: RunConfig) -> list[Bound]:
    """The benchmarks that `--tasks` names, with their data. Raises UserError and UnknownName before any work starts."""
    data = DataSource.parse(config.data, config.model, metadata=config.metadata)
    return [benchmark.bind(data) for benchmark in find_all(config.tasks, config.include_path)]


def one_bound(config: RunConfig) -> Bound:
    """The benchmark that `--tasks` names, with its data. Raises UserError where it names several."""
    found = resolve(config)
    if len(found) != 1:
        raise UserError(f"{', '.join(config.tasks)} means {len(found)} benchmarks or settings; name one of them")
    return found[0]


def make_models(config: RunConfig, *, bound: Bound, pool: Workers) -> list[StageOne]:
    """The target, then the retain models: one, or one for each of `--stage_one_seeds`.

    None of the latter where the protocol has none and none was given.
    """
    wanted: list[tuple[Role, int | None]] = [("target", next(iter(config.stage_one_seeds), None))]
    if bound.benchmark.has_retain_model or config.retain_model is not None:
        wanted += [("retain", seed) for seed in config.stage_one_seeds or (None,)]
    if config.model == "micro" and not (config.target_model and config.retain_model):
        # Before the others, which all start from it.
        base_model(config, bound=bound, progress=pool.progress)
    job = partial(prepare, config, bound=bound)
    return pool.run([partial(job, role=role, seed=seed) for role, seed in wanted])


def run(config: RunConfig, *, progress: Progress, say: Say, allow_weak_target: bool = False) -> list[Path]:
    """Run everything and return the folders of all records.

    Raises UserError for input that cannot be used. A target that fails the memorisation gate ends its benchmark after
    the two reference records unless `allow_weak_target`.
    """
    benchmarks = resolve(config)
    plans = {one.benchmark.group: check(config, bound=one) for one in benchmarks}
    folders: list[Path] = []
    with contextlib.ExitStack() as held, workers(config, progress=progress) as pool:
        parallel.on_main(lambda: held.enter_context(_alone(config)))
        held.enter_context(_written_down(config))
        for bound in benchmarks:
            own = plans[bound.benchmark.group]
            folders += _run_one(config, bound=bound, plans=own, pool=pool, say=say, allow_weak_target=allow_weak_target)
    return folders


@contextlib.contextmanager
def _alone(config: RunConfig) -> Iterator[None]:
    """Proves that the output folder can be written, and inside keeps other runs out of it."""
    prepare_folder(config.output)
    with alone_in(config.output):
        yield


@contextlib.contextmanager
def _written_down(config: RunConfig) -> Iterator[None]:
    """Inside, `run.yaml` in the output folder says what was asked for; a command that is refused leaves it as it was.

    Raises UserError where it cannot be written.
    """
    path = config.output / CONFIG_NAME

    def write() -> str | None:
        before = read_text(path) if path.is_file() else None
        write_config(config.output, config.as_dict())
        return before

    before = parallel.on_main(write)
    try:
        yield
    except UserError:
        if parallel.is_main():
            path.unlink(missing_ok=True) if before is None else write_text(path, before)
        raise


def check_models(config: RunConfig) -> None:
    """Raises UserError for a model that is named and cannot be there, before another is trained or asked."""
    given = [given_spec(text, config=config) for text in (config.target_model, config.retain_model) if text]
    if "pretrained" in arguments_in(config.model_args, owner="--model_args"):
        given.append(ModelSpec.parse(config.model_args, device=config.device))
    for spec in given:
        check_place(spec)
        spec.target_device()


def unlearn_only(config: RunConfig, *, progress: Progress) -> dict[str, Any]:
    """One method on one model, `--model_args` (for micro: its target model); returns the training's report.

    Raises UserError where the tasks mean several benchmarks.
    """
    bound = one_bound(config)
    (plan,) = check(config, bound=bound)
    folder = config.output / "training"
    with contextlib.ExitStack() as held, threads_of(config):
        parallel.on_main(lambda: held.enter_context(_alone(config)))
        models = Models()
        spec = unlearning_start(config, bound=bound, models=models, progress=progress)
        with _written_down(config):
            done = forget_with(
                plan, target=spec, config=config, bound=bound, folder=folder, models=models, progress=progress,
            )  # fmt: skip
    # The command line has a flag of its own for the device.
    model_args = replace(done.spec, device=None if config.device else done.spec.device).as_text()
    return {**done.training, "folder": str(folder), "model_args": model_args}


def unlearning_start(config: RunConfig, *, bound: Bound, models: Models, progress: Progress) -> ModelSpec:
    """The model that unlearning starts from: the one named, or the micro model's target."""
    if config.model != "micro":
        return ModelSpec.parse(config.model_args, device=config.device)
    return prepare(config, bound=bound, role="target", models=models, progress=progress).spec


def check(config: RunConfig, *, bound: Bound) -> list[MethodPlan]:
    """The plans of all methods and seeds: names, arguments and needs are looked at before the first second of work."""
    check_metrics(bound.benchmark)
    check_models(config)
    num_workers(config)
    stage_one_settings(config, benchmark=bound.benchmark)
    judge_of(config, bound=bound)
    if config.method_args:
        shared_arguments(config)
    plans = method_plans(config, benchmark=bound.benchmark)
    for plan in plans:
        trackers_of(plan.settings)
        check_material(plan, bound=bound)
    return plans


def _run_one(
    config: RunConfig, *, bound: Bound, plans: list[MethodPlan], pool: Workers, say: Say, allow_weak_target: bool
) -> list[Path]:
    home = config.output / safe_name(bound.benchmark.group)
    models = make_models(config, bound=bound, pool=pool)
    references = measure_references(config, bound=bound, models=models, home=home, pool=pool)
    gate = references.target.record.gate
    say(gate_text(gate, group=bound.benchmark.group))
    if gate is not None and not gate.passed and plans and not allow_weak_target:
        raise UserError(
            f"{bound.benchmark.group}: the target model cannot serve as a basis for scores: {gate.reason}; train it "
            "longer (--stage_one_args max_steps=...), name another with --target_model, or go on with "
            "--allow_weak_target: its rows will not be eligible"
        )
    rows = measure_methods(
        config, bound=bound, plans=plans, target=models[0], references=references, home=home, pool=pool
    )  # fmt: skip
    return [*references.folders, *rows]


def gate_text(gate: GateResult | None, *, group: str) -> str:
    """One line: what the target and the retain model recall, and whether that is enough to go on."""
    if gate is None:
        return f"{group}: no memorisation gate"
    known = {"target": gate.target} | ({} if gate.room is None else {"retain model": gate.retain})
    found = ", ".join(f"{name} {'unknown' if v is None else format(v, '.1%')}" for name, v in known.items())
    verdict = "passed" if gate.passed else f"NOT passed: {gate.reason}"
    return f"{group}: {gate.metric} on {gate.set}: {found}; memorisation gate {verdict}"
