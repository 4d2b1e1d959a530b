"""The whole run of a benchmark: target and retain model, memorisation gate, every method, records, leaderboard.

Every stage leaves its result in the output folder and is skipped when found there, so the same command continues
after Ctrl-C or a kill and ends with the same numbers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mmforget import parallel
from mmforget.benchmark.spec import Bound
from mmforget.errors import UserError
from mmforget.model.spec import ModelSpec
from mmforget.pipeline.bases import make_base, make_starts
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.models import Models
from mmforget.pipeline.plan import BenchmarkPlan, Plan
from mmforget.pipeline.recipes import MethodPlan
from mmforget.pipeline.records import measure_methods, measure_references, told_base
from mmforget.pipeline.stage_one import StageOne, base_model, prepare
from mmforget.pipeline.tuning import tuned_plans
from mmforget.pipeline.unlearning import forget_with
from mmforget.pipeline.workers import Workers, threads_of, workers
from mmforget.reading import read_text
from mmforget.results.files import alone_in, prepare_folder, write_text
from mmforget.results.schema import GateResult
from mmforget.results.store import CONFIG_NAME, safe_name, write_config
from mmforget.types import Progress

Say = Callable[[str], None]


def make_models(config: RunConfig, *, plan: BenchmarkPlan, pool: Workers) -> list[StageOne]:
    """The target, then the retain models, as far as the plan has them."""
    if config.model == "micro" and not (config.target_model and config.retain_model):
        # Before the others, which all start from it.
        base_model(config, bound=plan.bound, progress=pool.progress)
    job = partial(prepare, config, bound=plan.bound)
    return pool.run([partial(job, role=one.role, seed=one.seed) for one in plan.references])


def run(plan: Plan, *, progress: Progress, say: Say, allow_weak_target: bool = False) -> list[Path]:
    """Carry out the plan and return the folders of all records.

    Raises UserError for input that cannot be used. A target that fails the memorisation gate ends its benchmark after
    the two reference records unless `allow_weak_target`.
    """
    folders: list[Path] = []
    with contextlib.ExitStack() as held, workers(plan.config, progress=progress) as pool:
        parallel.on_main(lambda: held.enter_context(_alone(plan.config)))
        held.enter_context(_written_down(plan.config))
        for one in plan.benchmarks:
            folders += _run_one(plan.config, plan=one, pool=pool, say=say, allow_weak_target=allow_weak_target)
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


def unlearn_only(plan: Plan, *, progress: Progress) -> dict[str, Any]:
    """One method on one model, `--model_args` (for micro: its target model); returns the training's report."""
    config, (one,) = plan.config, plan.benchmarks
    (method,) = one.methods
    folder = config.output / "training"
    with contextlib.ExitStack() as held, threads_of(config):
        parallel.on_main(lambda: held.enter_context(_alone(config)))
        models = Models()
        base = make_base(method, config=config, bound=one.bound, models=models, progress=progress)
        spec = base.spec if base else unlearning_start(config, bound=one.bound, models=models, progress=progress)
        with _written_down(config):
            done = forget_with(
                method,
                target=spec,
                retain=config.retain_model,
                config=config,
                bound=one.bound,
                folder=folder,
                models=models,
                progress=progress,
            )
    # The command line has a flag of its own for the device.
    model_args = replace(done.spec, device=None if config.device else done.spec.device).as_text()
    return {**done.training, **told_base(base), "folder": str(folder), "model_args": model_args}


def unlearning_start(config: RunConfig, *, bound: Bound, models: Models, progress: Progress) -> ModelSpec:
    """The model that unlearning starts from: the one named, or the micro model's target."""
    if config.model != "micro":
        return config.with_pretrained(None)
    return prepare(config, bound=bound, role="target", models=models, progress=progress).spec


def _run_one(config: RunConfig, *, plan: BenchmarkPlan, pool: Workers, say: Say, allow_weak_target: bool) -> list[Path]:
    bound = plan.bound
    home = config.output / safe_name(bound.benchmark.group)
    models = make_models(config, plan=plan, pool=pool)
    references = measure_references(config, bound=bound, models=models, home=home, pool=pool)
    gate = references.target.record.gate
    say(gate_text(gate, group=bound.benchmark.group))
    if gate is not None and not gate.passed and plan.methods and not allow_weak_target:
        raise UserError(
            f"{bound.benchmark.group}: the target model cannot serve as a basis for scores: {gate.reason}; train it "
            "longer (--stage_one_args max_steps=...), name another with --target_model, or go on with "
            "--allow_weak_target: its rows will not be eligible"
        )
    plans: Sequence[MethodPlan] = plan.methods
    if plan.trials:
        plans = tuned_plans(
            config, bound=bound, trials=plan.trials, made=models, references=references, home=home, pool=pool
        )
    starts = make_starts(plans, config=config, bound=bound, target=models[0], pool=pool)
    rows = measure_methods(
        config, bound=bound, plans=list(zip(plans, starts, strict=True)), made=models, references=references, home=home,
        pool=pool,
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
