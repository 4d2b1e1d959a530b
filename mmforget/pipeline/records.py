"""The records of a run: retain models and target, then one for each method and seed, independent of one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mmforget.benchmark.spec import Bound
from mmforget.evaluation.probes import Probes
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.dividing import division_of, told_rows
from mmforget.pipeline.helping import ask_target, helped_by, probes_file
from mmforget.pipeline.instances import Alone, reference_rows
from mmforget.pipeline.measuring import (
    AboutModel,
    Measured,
    Place,
    asking_key,
    evaluate_tasks,
    is_one_at_a_time,
    measure,
    rule_on_retain,
)
from mmforget.pipeline.models import Models
from mmforget.pipeline.recipes import MethodPlan
from mmforget.pipeline.relearning import Start, measure_relearned
from mmforget.pipeline.requests import Requests
from mmforget.pipeline.stage_one import StageOne, labelled
from mmforget.pipeline.unlearning import forget_with, material_for
from mmforget.pipeline.workers import Job, Workers
from mmforget.results.schema import MethodUse
from mmforget.results.store import seed_folder
from mmforget.types import Progress


@dataclass(frozen=True)
class References:
    """What every unlearned model is compared with: where unlearning starts, and the gold standard where there is one.

    Attributes:
        others: records of further retain models, themselves compared with the first.
    """

    target: Measured
    retain: Measured | None
    others: tuple[Measured, ...] = ()

    @property
    def folders(self) -> list[Path]:
        """Of all records."""
        first = [self.target, *([self.retain] if self.retain else [])]
        return [one.folder for one in (*first, *self.others)]


def measure_references(
    config: RunConfig, *, bound: Bound, models: Sequence[StageOne], home: Path, pool: Workers
) -> References:
    """Records of the target and the retain models, the target being the first of `models`.

    What attacks ask the target is answered before anything is measured. Then the first retain model is measured before
    the target, whose gate needs it, and ruled on again after it.
    """
    job = partial(measure_reference, config=config, bound=bound)
    target_model, *retain_models = models
    if helped_by(config, bound=bound, helper="target"):
        rows = reference_rows(config, bound=bound) or _divided_rows(config, bound=bound)
        probes = Probes(probes_file(config, bound=bound))
        pool.run([partial(ask_target, target_model.spec, config=config, bound=bound, rows=rows, probes=probes)])
    folders = [_retain_folder(model, config=config, home=home) for model in retain_models]
    retain = None
    if retain_models:
        (retain,) = pool.run([partial(job, retain_models[0], folder=folders[0])])
    (target,) = pool.run([partial(job, target_model, folder=home / "target", retain=retain)])
    if retain is None:
        return References(target, None)
    retain = rule_on_retain(retain, target=target, bound=bound)
    rest = zip(retain_models[1:], folders[1:], strict=True)
    others = pool.run([partial(job, model, folder=folder, target=target, retain=retain) for model, folder in rest])
    return References(target, retain, tuple(others))


def _divided_rows(config: RunConfig, *, bound: Bound) -> dict[str, list[int]] | None:
    """By task the rows of the test part; None where none are set aside."""
    division = division_of(config, bound=bound)
    return None if division is None else told_rows(config, division=division)


def _retain_folder(model: StageOne, *, config: RunConfig, home: Path) -> Path:
    folder = home / "retain"
    return folder / seed_folder(model.training["settings"]["seed"]) if config.stage_one_seeds else folder


def measure_reference(
    model: StageOne,
    *,
    config: RunConfig,
    bound: Bound,
    folder: Path,
    target: Measured | None = None,
    retain: Measured | None = None,
    models: Models,
    progress: Progress,
) -> Measured:
    """The record of a model of stage one."""
    suffix = f", {folder.name}" if folder.name != model.role else ""
    loaded, place = models.get(model.spec), Place(config, bound, folder)
    rows = reference_rows(config, bound=bound)
    return measure(
        loaded,
        about=AboutModel(model.role, model.role, training=model.training),
        place=place,
        target=target,
        retain=retain,
        progress=labelled(progress, suffix=suffix),
        evaluating=None if rows is None else partial(evaluate_tasks, loaded, place=place, rows=rows, retain=retain),
    )


def measure_methods(
    config: RunConfig,
    *,
    bound: Bound,
    plans: Sequence[tuple[MethodPlan, StageOne]],
    made: Sequence[StageOne],
    references: References,
    home: Path,
    pool: Workers,
) -> list[Path]:
    """The folders of the records of all methods and seeds, in the order of `plans`.

    Args:
        plans: each with what it starts from.
        made: the target, then the retain models.
    """
    # The longest first, so that at the end no worker is alone with a long one.
    order = sorted(range(len(plans)), key=lambda number: -(plans[number][0].settings.max_steps or 0))
    first = _relearning(made[0], config=config, bound=bound, home=home, references=references)
    job = partial(measure_method, config=config, bound=bound, references=references, home=home)
    jobs: list[Job[list[Path]]] = [
        partial(job, plan, made=(start, *made[1:2])) for plan, start in (plans[number] for number in order)
    ]
    found = pool.run([*first, *jobs])
    listed = [found[len(first) + order.index(number)] for number in range(len(plans))]
    return [folder for several in (*listed, *found[: len(first)]) for folder in several]


def _relearning(
    model: StageOne, *, config: RunConfig, bound: Bound, home: Path, references: References
) -> list[Job[list[Path]]]:
    """That the target model relearns, where the benchmark's setting has it."""
    if bound.benchmark.relearn_set is None:
        return []
    start = Start(model.role, model.role, model.spec, Path(model.role))
    job = partial(measure_relearned, config=config, bound=bound, home=home)
    return [partial(job, start, target=references.target, retain=references.retain)]


def measure_method(
    plan: MethodPlan,
    *,
    config: RunConfig,
    bound: Bound,
    made: Sequence[StageOne],
    references: References,
    home: Path,
    models: Models,
    progress: Progress,
) -> list[Path]:
    """Trains one method with one seed and stores its record, and that of what it relearns; returns their folders.

    Args:
        made: what it starts from, then the retain model where there is one.
    """
    folder = home / plan.folder
    told = labelled(progress, suffix=plan.label.removeprefix(plan.name))
    method = MethodUse(
        plan.name, plan.as_dict()["args"] | _flat(plan) | _budget(plan), plan.settings.seed, config.recipe
    )
    place = Place(config, bound, folder)
    if is_one_at_a_time(config, bound=bound):
        loaded = models.get(made[0].spec)
        material = material_for(plan, loaded=loaded, config=config, bound=bound)
        alone = Alone(plan, loaded, material, place)
        return [measure_alone(alone, method=method, references=references, progress=told).folder]
    if config.requests is not None:
        requests = Requests(plan, made[0].spec, made[1].spec if len(made) > 1 else None, place, models)
        return measure_requests(requests, method=method, references=references, home=home, progress=told)
    done = forget_with(
        plan,
        target=made[0].spec,
        retain=made[1].spec if len(made) > 1 else None,
        config=config,
        bound=bound,
        folder=folder / "training",
        models=models,
        progress=told,
    )
    measured = measure(
        models.get(done.spec),
        about=AboutModel(
            "unlearned", plan.name, method=method, training={**done.training, **told_base(made[0]), **_tuning(plan)}
        ),
        place=place,
        target=references.target,
        retain=references.retain,
        progress=told,
    )
    start = Start(plan.name, plan.label, done.spec, plan.folder)
    return [
        measured.folder,
        *_relearnt(start, place, references=references, home=home, models=models, progress=progress),
    ]


def _relearnt(
    start: Start, place: Place, *, references: References, home: Path, models: Models, progress: Progress
) -> list[Path]:
    """Folders of the records of what a model relearns; none where the benchmark's setting has no relearning."""
    if place.bound.benchmark.relearn_set is None:
        return []
    return measure_relearned(
        start, config=place.config, bound=place.bound, home=home, target=references.target, retain=references.retain,
        models=models, progress=progress,
    )  # fmt: skip


def measure_requests(
    requests: Requests, *, method: MethodUse, references: References, home: Path, progress: Progress
) -> list[Path]:
    """The record of the model after the last of several requests, and that of what it relearns; their folders."""
    plan, place, models = requests.plan, requests.place, requests.models
    done = requests.carry_out(start=str(references.target.record.model_info["fingerprint"]), progress=progress)
    num = place.config.requests
    args = {**method.args, "requests": num, "between": requests.between}
    name = f"{plan.name}, {num} {'request' if num == 1 else 'requests'}"
    about = AboutModel("unlearned", name, replace(method, args=args), done.training, done.sequence)
    loaded = models.get(done.spec)
    measured = measure(
        loaded, about=about, place=place, target=references.target, retain=references.retain, progress=progress
    )
    start = Start(name, plan.label, done.spec, plan.folder)
    return [
        measured.folder,
        *_relearnt(start, place, references=references, home=home, models=models, progress=progress),
    ]


def measure_alone(alone: Alone, *, method: MethodUse, references: References, progress: Progress) -> Measured:
    """The one record of all instances that a method forgets one at a time."""
    return measure(
        alone.named,
        about=AboutModel("unlearned", alone.plan.name, method=method, is_guarded=hasattr(alone.plan.method, "guard")),
        place=alone.place,
        target=references.target,
        retain=references.retain,
        progress=progress,
        evaluating=partial(alone.evaluate, asked=asking_key(alone.place)),
    )


def told_base(start: StageOne | None) -> dict[str, Any]:
    """What a record's training says of the base that a method started from; nothing where that is the target."""
    return {"base": dict(start.training)} if start is not None and start.role == "base" else {}


def _flat(plan: MethodPlan) -> Mapping[str, Any]:
    return {f"training.{key}": value for key, value in plan.settings.as_dict().items()}


def _budget(plan: MethodPlan) -> dict[str, Any]:
    """The trials that the method had, beside its settings: rows of other budgets are other rows."""
    return {"tune": plan.tuning["budget"]} if plan.tuning else {}


def _tuning(plan: MethodPlan) -> dict[str, Any]:
    return {"tuning": dict(plan.tuning)} if plan.tuning else {}
