"""Which parameters train: adapters that are taken off again afterwards, or the language model itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from mmforget import parallel
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import attach, detach, set_trainable
from mmforget.results.files import writing
from mmforget.training import draws
from mmforget.training.settings import TrainSettings


@contextmanager
def trainable(loaded: LoadedModel, *, settings: TrainSettings, keep: Path | None = None) -> Iterator[LoadedModel]:
    """Inside, the model has just the parameters of `settings` trainable; adapters start from `settings.seed`.

    Afterwards adapters are off again and `loaded` is what it was; without, it keeps its trained weights, frozen, unless
    `keep` names a folder for those before. Raises UserError for full training of a quantised model, and where the model
    carries an adapter already.
    """
    with_projector = settings.train_projector and loaded.family.projector(loaded.core) is not None
    if settings.lora is None:
        prepared = set_trainable(loaded, projector=with_projector)
        try:
            with nullcontext() if keep is None else _put_back(prepared, folder=keep):
                yield prepared
        finally:
            loaded.model.requires_grad_(False)
        return
    draws.seed_update(settings.seed, update=0, micro_batch=0)
    prepared = attach(loaded, replace(settings.lora, train_projector=with_projector))
    try:
        yield prepared
    finally:
        detach(prepared)


@contextmanager
def _put_back(prepared: LoadedModel, *, folder: Path) -> Iterator[None]:
    """Afterwards what trains is as it was, bit by bit. Meanwhile that lies in files, one a weight, and in no memory.

    Raises UserError where they cannot be written.
    """
    files = {name: folder / f"{number}.safetensors" for number, name in enumerate(prepared.trainable())}

    def write() -> None:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name, weight in prepared.trainable().items():
                save_file({"weight": weight.detach().cpu().contiguous()}, files[name])

    parallel.on_main(write)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, file in files.items():
                prepared.model.get_parameter(name).copy_(load_file(file)["weight"])
