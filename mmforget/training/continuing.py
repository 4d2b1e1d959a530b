"""A model that learns a few rows more for a while, on top of what it is."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import NamedTuple

import torch

from mmforget.methods.material import Validate
from mmforget.model.examples import encode_all
from mmforget.model.loaded import ADAPTER, LoadedModel, in_training, with_changed, with_fingerprint
from mmforget.model.vision import FeatureCache
from mmforget.training.adapters import trainable
from mmforget.training.batches import Batches
from mmforget.training.objective import Memorise, Scoring
from mmforget.training.settings import TrainSettings
from mmforget.training.trainer import train
from mmforget.training.unlearn import require_bare
from mmforget.types import Example, Progress


class Looks(NamedTuple):
    """A training that is looked at on its way.

    Attributes:
        at: after which updates, from 1.
        look: gets the model under the fingerprint of the weights that it has then, in evaluation mode, and the update.
    """

    at: tuple[int, ...]
    look: Callable[[LoadedModel, int], None]


@contextmanager
def continued(
    loaded: LoadedModel,
    examples: Sequence[Example],
    *,
    settings: TrainSettings,
    label: str,
    features: FeatureCache | None = None,
    progress: Progress | None = None,
    looks: Looks | None = None,
) -> Iterator[LoadedModel]:
    """Inside, the model has learned the answers of the examples; afterwards it is what it was, bit by bit.

    The adapter that it carries goes on training. A model without one trains as `settings` say. Nothing is left on disk.

    Raises BadData for rows that cannot be encoded, UserError for a model behind a guard and for weights that cannot be
    trained.
    """
    require_bare(loaded)
    encoded = encode_all(loaded, examples, append_eos=settings.append_eos, source=f"rows of {label}")
    batches = Batches([example.subject for example in examples], settings=settings)
    with tempfile.TemporaryDirectory(prefix="mmforget-") as folder, _prepared(loaded, settings, Path(folder)) as ready:
        scoring = Scoring(ready, packed=settings.packed, bf16=settings.bf16, features=features)
        settings = settings if looks is None else replace(settings, eval_steps=1)
        train(
            ready, objective=Memorise(scoring, encoded), batches=batches, settings=settings, folder=Path(folder),
            label=label, progress=progress, validate=None if looks is None else _looking(looks, ready, before=loaded),
        )  # fmt: skip
        named = _named(ready, before=loaded)
        ready.model.requires_grad_(False)
        yield named


def _named(ready: LoadedModel, *, before: LoadedModel) -> LoadedModel:
    return with_fingerprint(ready) if ready.has_adapter else with_changed(before, ready.trainable())


def _looking(looks: Looks, ready: LoadedModel, *, before: LoadedModel) -> Validate:
    """What the training calls before its first update and after each."""
    updates = count()

    def validate(_: LoadedModel) -> tuple[float | None, float | None]:
        update = next(updates)
        if update in looks.at:
            looks.look(_named(ready, before=before), update)
        return None, None

    return validate


@contextmanager
def _prepared(loaded: LoadedModel, settings: TrainSettings, folder: Path) -> Iterator[LoadedModel]:
    """Inside, what trains is trainable; afterwards it is what it was."""
    if not loaded.has_adapter:
        with trainable(loaded, settings=settings, keep=folder / "before") as prepared:
            yield prepared
        return
    weights = [weight for name, weight in loaded.model.named_parameters() if f".{ADAPTER}." in f"{name}."]
    before = [weight.detach().cpu().clone() for weight in weights]
    try:
        for weight in weights:
            weight.requires_grad_(True)
        yield in_training(loaded, model=loaded.model)
    finally:
        with torch.no_grad():
            for weight, old in zip(weights, before, strict=True):
                weight.requires_grad_(False).copy_(old)
