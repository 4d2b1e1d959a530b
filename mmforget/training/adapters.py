"""Which parameters train: adapters that are taken off again afterwards, or the language model itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import attach, detach, set_trainable
from mmforget.training import draws
from mmforget.training.settings import TrainSettings


@contextmanager
def trainable(loaded: LoadedModel, *, settings: TrainSettings) -> Iterator[LoadedModel]:
    """Inside, the model has just the parameters of `settings` trainable; adapters start from `settings.seed`.

    Afterwards adapters are off again and `loaded` is what it was; without, it keeps its trained weights, frozen.
    Raises UserError for full training of a quantised model, and where the model carries an adapter already.
    """
    with_projector = settings.train_projector and loaded.family.projector(loaded.core) is not None
    if settings.lora is None:
        try:
            yield set_trainable(loaded, projector=with_projector)
        finally:
            loaded.model.requires_grad_(False)
        return
    draws.seed_update(settings.seed, update=0, micro_batch=0)
    prepared = attach(loaded, replace(settings.lora, train_projector=with_projector))
    try:
        yield prepared
    finally:
        detach(prepared)
