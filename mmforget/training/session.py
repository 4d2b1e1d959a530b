"""One training in one folder: make parameters trainable, train or continue, save the result, mark it done."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmforget.errors import RunFailed, UserError
from mmforget.model.loaded import LoadedModel, in_training, save_model
from mmforget.model.lora import attach, detach, save_adapter
from mmforget.model.vision import FeatureCache
from mmforget.training import draws, report
from mmforget.training.batches import Batches
from mmforget.training.objective import Objective, Scoring
from mmforget.training.report import TrainReport
from mmforget.training.settings import TrainSettings
from mmforget.training.trainer import Outcome, Progress, train

FEATURE_BUDGET_BYTES = 2**30
MakeObjective = Callable[[LoadedModel, Scoring], Objective]


def train_in(
    folder: Path,
    *,
    loaded: LoadedModel,
    plan: Mapping[str, Any],
    objective: MakeObjective,
    batches: Batches,
    settings: TrainSettings,
    label: str,
    progress: Progress | None = None,
    features: FeatureCache | None = None,
) -> TrainReport:
    """Trains in `folder`, or continues, or returns the report of what is done there already.

    Args:
        plan: what tells this training from another; model and settings are added.
        objective: makes the objective from the model with its trainable parameters in place.
    """
    whole_plan = {**plan, "model": loaded.fingerprint, "settings": settings.as_dict()}
    done = report.finished(folder, plan=whole_plan)
    if done is not None:
        return done
    report.begin(folder, plan=whole_plan)
    with trainable(loaded, settings=settings) as prepared:
        report.reset_peak_memory(prepared.device)
        scoring = Scoring(prepared, packed=settings.packed, features=features or FeatureCache(FEATURE_BUDGET_BYTES))
        outcome = train(
            prepared,
            objective=objective(prepared, scoring),
            batches=batches,
            settings=settings,
            folder=folder,
            label=label,
            progress=progress,
        )
        _require_finite(prepared, folder=folder)
        output = _save(prepared, folder=folder, is_adapter=settings.lora is not None)
        made = _report(prepared, outcome=outcome, label=label, output=output)
    finished = report.finish(folder, made)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return finished


@contextmanager
def trainable(loaded: LoadedModel, *, settings: TrainSettings) -> Iterator[LoadedModel]:
    """The model with just the parameters of `settings` trainable; adapters are taken off again at the end.

    Raises UserError for full fine-tuning of a quantised model or of one that carries an adapter.
    """
    draws.seed_update(settings.seed, update=0, micro_batch=0)
    if settings.lora is not None:
        prepared = attach(loaded, replace(settings.lora, train_projector=settings.train_projector))
        try:
            yield prepared
        finally:
            detach(prepared)
        return
    if loaded.spec.is_quantised or loaded.has_adapter:
        state = "quantised" if loaded.spec.is_quantised else "carrying an adapter"
        raise UserError(f"a model {state} cannot be trained as a whole; train adapters (--lora_r 8) or load it plainly")
    core = loaded.core
    parts = loaded.family.language_parts(core)
    projector = loaded.family.projector(core)
    parts += [projector] if projector is not None and settings.train_projector else []
    for part in parts:
        part.requires_grad_(True)
    try:
        yield in_training(loaded, model=loaded.model)
    finally:
        loaded.model.requires_grad_(False)


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


def _report(prepared: LoadedModel, *, outcome: Outcome, label: str, output: Path) -> TrainReport:
    memory = report.peak_memory(prepared.device)
    return TrainReport(
        label=label,
        output=output,
        num_steps=outcome.num_steps,
        num_planned=outcome.num_planned,
        wall_s=round(outcome.wall_s, 3),
        peak_memory_bytes=memory.num_bytes,
        peak_memory_kind=memory.kind,
        num_trainable=sum(weight.numel() for weight in prepared.trainable().values()),
        num_parameters=_num_parameters(prepared.model),
        final_parts=dict(outcome.final_parts),
        diverged=outcome.stopped == "diverged",
        stopped=outcome.stopped,
        resumed_from=outcome.resumed_from,
    )


def _num_parameters(model: Any) -> int:
    count = 0
    for weight in model.parameters():
        state = getattr(weight, "quant_state", None)
        # Packed 4-bit weights hold two numbers a byte; their quantisation state knows the real shape.
        count += weight.numel() if state is None else state.shape.numel()
    return count
