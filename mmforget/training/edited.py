"""A model that is edited for a while: one subject after another on the one base that is in memory."""

from __future__ import annotations

import gc
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from mmforget import parallel
from mmforget.methods.material import Material
from mmforget.model.loaded import LoadedModel, guarded, with_changed, with_fingerprint
from mmforget.model.site import ModelSite
from mmforget.model.vision import FeatureCache
from mmforget.training.editing import editing
from mmforget.training.guarding import guard_of
from mmforget.training.session import Training, trained_in
from mmforget.training.settings import TrainSettings
from mmforget.training.unlearn import as_asked_for, name_of, require_bare, training_of
from mmforget.types import Progress

logger = logging.getLogger(__name__)


@contextmanager
def edited(
    loaded: LoadedModel,
    material: Material,
    *,
    method: Any,
    settings: TrainSettings,
    label: str | None = None,
    progress: Progress | None = None,
    features: FeatureCache | None = None,
) -> Iterator[LoadedModel]:
    """Inside, the model has forgotten as `unlearn` makes it forget; afterwards `loaded` is what it was, bit by bit.

        with edited(loaded, Material(forget=rows), method=build_method("chip"), settings=settings) as forgetful:
            score(forgetful, questions)

    That is so after an error, too (but among processes that divide a model's weights). There is one model in memory:
    `loaded` itself must not be used inside, nor the other one afterwards. Of weights that an edit replaces the old ones
    are kept on the CPU; of weights that are trained without adapters they lie in files of a temporary folder. The
    fingerprint inside is that of what the model computes there, so answers can be kept.

    Args: those of `unlearn`, without a folder; nothing is left on disk. A guard need not be registered.

    Raises what `unlearn` raises. A training that ends early is warned of.
    """
    name = label or name_of(method)
    require_bare(loaded)
    if hasattr(method, "guard") and not hasattr(method, "loss"):
        yield guarded(loaded, guard_of(loaded, material, method=method, name=name))
    elif hasattr(method, "edit"):
        with _edited(loaded, material, method=method, name=name, append_eos=settings.append_eos) as found:
            yield found
    else:
        loaded, settings = as_asked_for(loaded, settings, method=method)
        training = training_of(loaded, material, method=method, settings=settings, name=name)
        with _trained(training, loaded=loaded, settings=settings, progress=progress, features=features) as found:
            is_guard = hasattr(method, "guard")
            yield guarded(found, guard_of(found, material, method=method, name=name)) if is_guard else found


@contextmanager
def _edited(
    loaded: LoadedModel, material: Material, *, method: Any, name: str, append_eos: bool
) -> Iterator[LoadedModel]:
    site = ModelSite(loaded, append_eos=append_eos)
    forget, retain = (material.as_asked(rows) for rows in (material.forget, material.retain))
    with editing(site, method=method, forget=forget, retain=retain, level=material.level, label=name):
        yield with_changed(loaded, _replaced(site))


def _replaced(site: ModelSite) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name in site.replaced:
        matrix = site.matrix(name)
        found |= {f"{name}.{part}": value for part, value in matrix._asdict().items() if value is not None}
    return found


@contextmanager
def _trained(
    training: Training,
    *,
    loaded: LoadedModel,
    settings: TrainSettings,
    progress: Progress | None,
    features: FeatureCache | None,
) -> Iterator[LoadedModel]:
    with (
        _temporary_folder() as folder,
        trained_in(
            folder, training, loaded=loaded, settings=settings, progress=progress, features=features,
            keep=folder / "before",
        ) as (prepared, outcome, *_),
    ):  # fmt: skip
        if outcome.stopped:
            logger.warning("%s stopped early: %s", training.label, outcome.stopped)
        weights = prepared.trainable()
        named = with_changed(loaded, weights) if settings.lora is None else with_fingerprint(prepared)
        prepared.model.requires_grad_(False)
        # The Trainer holds itself, and with it an optimiser of twice the size of what trained.
        gc.collect()
        yield named


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """One that all processes share."""
    folder = parallel.on_main(lambda: Path(tempfile.mkdtemp(prefix="mmforget-")))
    try:
        yield folder
    finally:
        if parallel.is_main():
            shutil.rmtree(folder, ignore_errors=True)
