"""A model that learns a few rows more for a while, on top of what it is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

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


@contextmanager
def continued(
    loaded: LoadedModel,
    examples: Sequence[Example],
    *,
    settings: TrainSettings,
    label: str,
    features: FeatureCache | None = None,
    progress: Progress | None = None,
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
        train(
            ready, objective=Memorise(scoring, encoded), batches=batches, settings=settings, folder=Path(folder),
            label=label, progress=progress,
        )  # fmt: skip
        named = with_fingerprint(ready) if ready.has_adapter else with_changed(loaded, ready.trainable())
        ready.model.requires_grad_(False)
        yield named


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
