"""Unlearning: one method on one model, from the rows to forget to a saved adapter."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mmforget.errors import UserError
from mmforget.methods.base import finish_of, hyper_parameters, part_with
from mmforget.methods.bases import base_of
from mmforget.methods.material import Material, RetainLogprobs
from mmforget.methods.requests import has_labels
from mmforget.model.activations import num_first
from mmforget.model.examples import encode_all
from mmforget.model.loaded import LoadedModel
from mmforget.model.shallow import in_first_layers
from mmforget.model.vision import FeatureCache
from mmforget.plugins import code_of
from mmforget.results.fingerprint import hash_json
from mmforget.training.batches import Batches
from mmforget.training.editing import edit_in
from mmforget.training.guarding import guard_in
from mmforget.training.hf_arguments import num_updates, updates_per_epoch
from mmforget.training.labelling import labelled
from mmforget.training.objective import Objective, Scoring, Unlearn
from mmforget.training.private import read_account
from mmforget.training.reference import before_training, reference_logprobs
from mmforget.training.report import TrainReport
from mmforget.training.revealed import Asked, Revealed
from mmforget.training.session import Ready, Training, train_in
from mmforget.training.settings import TrainSettings
from mmforget.training.sources import SourceRows, Sources, make_sources
from mmforget.training.stopping import LAST
from mmforget.types import Example, Progress

logger = logging.getLogger(__name__)

TRAINED = "trained"
"""Where a guard that trains an adapter first trains it, below its own folder."""


def unlearn(
    loaded: LoadedModel,
    material: Material,
    *,
    method: Any,
    settings: TrainSettings,
    folder: Path,
    label: str | None = None,
    progress: Progress | None = None,
    features: FeatureCache | None = None,
) -> TrainReport:
    """Makes `loaded` forget with `method`, trained, edited or guarded; the result lies under `report.output`.

    Args:
        material: the rows to forget, and what else the method may draw on.
        method: what `methods.build.build` gives.

    With LoRA, the adapters are taken off again afterwards, so `loaded` is as it was and serves the next method.
    Without, its weights are changed in place and saved whole. The same call on the same folder continues a killed
    training or returns the report of a finished one.

    Raises UserError where the method needs retain rows, benign rows, refusals or a reference that are not there or the
    folder holds another training; BadData for rows that cannot be encoded.
    """
    name = label or name_of(method)
    require_bare(loaded)
    if hasattr(method, "edit"):
        return edit_in(
            folder, loaded=loaded, method=method, forget=material.as_asked(material.forget),
            retain=material.as_asked(material.retain), level=material.level, label=name,
            append_eos=settings.append_eos,
        )  # fmt: skip
    if hasattr(method, "guard") and not hasattr(method, "loss"):
        return guard_in(folder, loaded=loaded, material=material, method=method, label=name)
    loaded, settings = as_asked_for(loaded, settings, method=method)
    training = training_of(loaded, material, method=method, settings=settings, name=name)
    place = folder / TRAINED if hasattr(method, "guard") else folder
    report = train_in(place, training, loaded=loaded, settings=settings, progress=progress, features=features)
    if not hasattr(method, "guard"):
        return report
    return guard_in(folder, loaded=loaded, material=material, method=method, label=name, trained=report)


def logprobs_under(
    loaded: LoadedModel, rows: Sequence[Example], *, settings: TrainSettings, features: FeatureCache | None = None
) -> RetainLogprobs:
    """What a model says of the answers of rows, each put as it is asked: `Material.retain_logprobs`."""
    encoded = encode_all(loaded, rows, append_eos=settings.append_eos, source="rows to forget")
    score = Scoring(loaded, packed=settings.packed, bf16=settings.bf16, features=features)
    with before_training(loaded, has_adapters=False):
        return RetainLogprobs(loaded.fingerprint, reference_logprobs(score, encoded, batch_size=settings.batch_size))


def as_asked_for(loaded: LoadedModel, settings: TrainSettings, *, method: Any) -> tuple[LoadedModel, TrainSettings]:
    """What trains: the first layers alone, with adapters there and no projector, where a method asks for that.

    Raises UserError for more layers than there are.
    """
    wanted = getattr(method, "first_layers", None)
    if wanted is None or settings.lora is None:
        return loaded, settings
    cut = replace(loaded, first_layers=num_first(loaded.core, wanted))
    return cut, replace(settings, lora=in_first_layers(cut, settings.lora), train_projector=False)


def name_of(method: Any) -> str:
    """What a method is called that nobody names: as its file."""
    return type(method).__module__.rpartition(".")[2]


def require_bare(loaded: LoadedModel) -> None:
    """Raises UserError for a model behind a guard."""
    if loaded.guard is not None:
        raise UserError(
            f"a guard ({loaded.guard.name}) stands before the model; unlearn the model itself, without guard="
        )


def training_of(
    loaded: LoadedModel, material: Material, *, method: Any, settings: TrainSettings, name: str
) -> Training:
    """What a method with a loss trains. Raises UserError where something that it asks about is not there."""
    require_loss(method, name=name)
    _say_where_it_starts(loaded, method=method, name=name)
    times = getattr(method, "learnt_times", 1.0)
    if settings.lora is None and (times != 1.0 or hasattr(method, "guard")):
        raise UserError(f"method '{name}' makes use of what an adapter has learnt; train with LoRA (--lora_r 8)")
    if settings.keep != LAST and finish_of(method) is not None:
        raise UserError(
            f"--keep {settings.keep} keeps the weights of one step, and method '{name}' puts others in their place; "
            "leave one of them out"
        )
    sources = make_sources(loaded, material, method=method, name=name, append_eos=settings.append_eos)
    batches = Batches(sources.subjects, settings=settings, partners=sources.partners)
    reveals = partial(_revealed, material, method=method, name=name, settings=settings, sources=sources)
    make = partial(_objective, method=method, settings=settings, num_batches=len(batches), reveals=reveals)
    first = partial(_labelled, sources=sources, settings=settings, make=make) if has_labels(method) else None
    made, plan = partial(make, sources=sources), _plan(method, name=name, sources=sources)
    return Training(name, plan, made, batches, times, material.validate, first)


def _labelled(
    loaded: LoadedModel,
    folder: Path,
    features: FeatureCache,
    *,
    sources: Sources,
    settings: TrainSettings,
    make: Callable[..., Objective],
) -> Ready:
    """The objective on rows whose tokens have labels."""
    found = labelled(loaded, sources.rows, folder=folder, settings=settings, features=features)
    return Ready(partial(make, sources=replace(sources, rows=dict(found.rows))), found.wall_s)


def _say_where_it_starts(loaded: LoadedModel, *, method: Any, name: str) -> None:
    """Warns where a method that starts from a private base is given another model: only pipelines make its base."""
    base = base_of(method)
    if base is not None and base.privacy is not None and read_account(Path(loaded.spec.pretrained)) is None:
        logger.warning(
            "method '%s' starts from a base with differential privacy, and %s is none, so nothing is promised; make "
            "one with `mmforget target --method %s`", name, loaded.spec.pretrained, name,
        )  # fmt: skip


def require_loss(method: Any, *, name: str) -> None:
    """Raises UserError for a method that only changes how others train."""
    if not hasattr(method, "loss"):
        raise UserError(f"method '{name}' only changes how another one trains; join it with that, e.g. npo+{name}")


def _objective(
    prepared: LoadedModel,
    scoring: Scoring,
    folder: Path,
    *,
    method: Any,
    sources: Sources,
    settings: TrainSettings,
    num_batches: int,
    reveals: Callable[..., Revealed | None],
) -> Objective:
    num = num_updates(settings, num_batches=num_batches)
    made = Unlearn(
        scoring, method, dict(sources.rows), has_adapters=settings.lora is not None, num_updates=num,
        updates_per_epoch=updates_per_epoch(settings, num_batches=num_batches), seed=settings.seed,
        revealed=reveals(scoring, folder=folder, num_updates=num),
    )  # fmt: skip
    made.prepare(batch_size=settings.batch_size)
    return made


def _revealed(
    material: Material,
    scoring: Scoring,
    *,
    folder: Path,
    num_updates: int,
    method: Any,
    name: str,
    settings: TrainSettings,
    sources: Sources,
) -> Revealed | None:
    """What writes the rows to forget; None for most methods."""
    part = part_with(method, "reveal")
    if part is None:
        return None
    model = Asked(scoring.loaded, scoring.features, settings.packed, settings.batch_size)

    def remake(other: Material) -> Mapping[str, SourceRows]:
        made = make_sources(scoring.loaded, other, method=method, name=name, append_eos=settings.append_eos).rows
        others = [one for one in made if len(made[one].encoded) != len(sources.rows[one].encoded)]
        if others:
            raise UserError(f"method '{name}': of '{others[0]}' there are more rows or fewer when others are forgotten")
        return made

    return Revealed(part, name, material, model, remake, folder, seed=settings.seed, num_updates=num_updates)


def _plan(method: Any, *, name: str, sources: Sources) -> dict[str, Any]:
    """What tells this training from another."""
    plan = {"method": name, "arguments": hyper_parameters(method), **sources.hashes}
    told = getattr(part_with(method, "reveal"), "candidates", None)
    plan |= {} if told is None else {"candidates": hash_json(list(told))}
    code = code_of(method)
    return plan if code is None else {**plan, "code": code}
