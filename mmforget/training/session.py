"""One training in one folder: make parameters trainable, train or continue, save the result, mark it done."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mmforget import parallel
from mmforget.errors import RunFailed
from mmforget.methods.material import Validate
from mmforget.model.changed_layers import make_plain
from mmforget.model.experts import num_weights
from mmforget.model.loaded import LoadedModel, save_model
from mmforget.model.lora import multiply_learnt, save_adapter
from mmforget.model.vision import FeatureCache
from mmforget.training import report
from mmforget.training.adapters import trainable
from mmforget.training.batches import Batches
from mmforget.training.objective import Objective, Scoring
from mmforget.training.report import TrainReport
from mmforget.training.settings import DIVERGED, TrainSettings
from mmforget.training.trainer import Outcome, train
from mmforget.training.watching import forget_best
from mmforget.types import Progress

FEATURE_BUDGET_BYTES = 2**30
FIRST = "first"
"""Where the adapter lies that has learnt a source's rows, below the training's own folder."""
UNIMPORTANT = frozenset({"save_steps", "report_to"})
"""Settings that may change between a killed run and the one that continues it, since no number depends on them."""
MakeObjective = Callable[[LoadedModel, Scoring, Path], Objective]


class Ready(NamedTuple):
    """What makes the objective, when all is learnt that comes before, and how long that took."""

    objective: MakeObjective
    wall_s: float = 0.0


First = Callable[[LoadedModel, Path, FeatureCache], Ready]
"""What is learnt before anything of the model is made trainable: (model, folder, image features) -> objective."""


class Training(NamedTuple):
    """What is trained.

    Attributes:
        label: for progress and the report.
        plan: what tells this training from another; model and settings are added.
        objective: makes the objective from the model with its trainable parameters in place, and the training's folder.
        batches: the rows of each micro-batch.
        learnt_times: what adapters have learnt is multiplied by this in the end.
        validate: looks at the model meanwhile, see `Material.validate`.
        first: makes the objective in place of `objective`, after learning something else; None for most.
    """

    label: str
    plan: Mapping[str, Any]
    objective: MakeObjective
    batches: Batches
    learnt_times: float = 1.0
    validate: Validate | None = None
    first: First | None = None


class Trained(NamedTuple):
    """A model that has been trained and still has what it learnt in place, and how that ended.

    Attributes:
        num_trainable: parameters that were trained, of `num_parameters`.
        first_s: seconds that learning took which came first.
    """

    prepared: LoadedModel
    outcome: Outcome
    num_trainable: int
    num_parameters: int
    first_s: float = 0.0


def train_in(
    folder: Path,
    training: Training,
    *,
    loaded: LoadedModel,
    settings: TrainSettings,
    progress: Progress | None = None,
    features: FeatureCache | None = None,
) -> TrainReport:
    """Trains in `folder`, or continues, or returns the report of what is done there already."""
    deciding = {name: value for name, value in settings.as_dict().items() if name not in UNIMPORTANT}
    whole_plan = {**training.plan, "model": loaded.fingerprint, "settings": deciding}
    done = parallel.on_main(lambda: _begun(folder, plan=whole_plan))
    if done is not None:
        return done
    with trained_in(
        folder, training, loaded=loaded, settings=settings, progress=progress, features=features
    ) as trained:
        is_adapter = settings.lora is not None
        output = parallel.on_main(lambda: _save(trained.prepared, folder=folder, is_adapter=is_adapter))
        made = _report(trained, label=training.label, output=output)
    return parallel.on_main(lambda: _finished(folder, made))


@contextmanager
def trained_in(
    folder: Path,
    training: Training,
    *,
    loaded: LoadedModel,
    settings: TrainSettings,
    progress: Progress | None = None,
    features: FeatureCache | None = None,
    keep: Path | None = None,
) -> Iterator[Trained]:
    """Inside, the model is trained; `folder` has its log and checkpoints, and it continues from the newest of these.

    Afterwards adapters are off again; without, the model keeps its trained weights unless `keep` names a folder for
    those before. Raises RunFailed for weights that are not finite.
    """
    features = FeatureCache(FEATURE_BUDGET_BYTES) if features is None else features
    report.reset_peak_memory(loaded.device)
    ready = Ready(training.objective) if training.first is None else training.first(loaded, folder, features)
    with trainable(loaded, settings=settings, keep=keep) as prepared:
        scoring = Scoring(
            prepared,
            packed=settings.packed,
            bf16=settings.bf16,
            features=features,
        )
        outcome = train(
            prepared,
            objective=ready.objective(prepared, scoring, folder),
            batches=training.batches,
            settings=settings,
            folder=folder,
            label=training.label,
            progress=progress,
            validate=training.validate,
        )
        _require_finite(prepared, folder=folder)
        if training.learnt_times != 1.0:
            multiply_learnt(prepared, by=training.learnt_times)
        sizes = sum(weight.numel() for weight in prepared.trainable().values()), _num_parameters(prepared.model)
        make_plain(prepared)
        yield Trained(prepared, outcome, *sizes, ready.wall_s)


def _begun(folder: Path, *, plan: Mapping[str, Any]) -> TrainReport | None:
    done = report.finished(folder, plan=plan)
    if done is None:
        report.begin(folder, plan=plan)
    else:
        # A kill right after the end left them.
        _tidy(folder, done)
    return done


def _finished(folder: Path, made: TrainReport) -> TrainReport:
    finished = report.finish(folder, made)
    _tidy(folder, finished)
    return finished


def _tidy(folder: Path, done: TrainReport) -> None:
    """Removes what a finished training needs no more; of one that diverged the last good checkpoint stays."""
    if not done.diverged:
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    # Of a training that learns first what is to be forgotten, nothing that knows it stays.
    shutil.rmtree(folder / FIRST, ignore_errors=True)
    forget_best(folder)


def _require_finite(prepared: LoadedModel, *, folder: Path) -> None:
    broken = [name for name, weight in prepared.trainable().items() if not bool(weight.isfinite().all())]
    if broken:
        raise RunFailed(
            f"training in {folder} ended with weights that are not finite ({broken[0]} and {len(broken) - 1} more); "
            "lower --lr or set max_grad_norm"
        )


def _save(prepared: LoadedModel, *, folder: Path, is_adapter: bool) -> Path:
    output = folder / ("adapter" if is_adapter else "model")
    shutil.rmtree(output, ignore_errors=True)
    if is_adapter:
        save_adapter(prepared, output)
    else:
        save_model(prepared, output)
    return output


def _report(trained: Trained, *, label: str, output: Path) -> TrainReport:
    outcome = trained.outcome
    memory = max(parallel.gather(report.peak_memory(trained.prepared.device)))
    return TrainReport(
        label=label,
        output=output,
        num_steps=outcome.num_steps,
        num_planned=outcome.num_planned,
        wall_s=round(outcome.wall_s + trained.first_s, 3),
        peak_memory_bytes=memory.num_bytes,
        peak_memory_kind=memory.kind,
        num_trainable=trained.num_trainable,
        num_parameters=trained.num_parameters,
        final_parts=dict(outcome.final_parts),
        diverged=outcome.stopped == DIVERGED,
        stopped=outcome.stopped,
        resumed_from=outcome.resumed_from,
        num_processes=parallel.world_size(),
        curve=tuple(point._asdict() for point in outcome.points),
        kept_step=outcome.kept_step,
    )


def _num_parameters(model: Any) -> int:
    return sum(num_weights(weight) for weight in model.parameters())
