"""A model with its adapter switched off for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mmforget.errors import UserError
from mmforget.model.loaded import LoadedModel


@contextmanager
def without_adapter(loaded: LoadedModel) -> Iterator[LoadedModel]:
    """Inside, `loaded` is what its adapter stands on, whether or not it was loaded with it.

    Weights that the adapter has replaced stay replaced. Raises UserError where there is no adapter.
    """
    if not loaded.has_adapter:
        raise UserError(
            "the model carries no adapter, so there is no reference model to switch back to; train with LoRA"
        )
    # PEFT makes every adapter weight trainable when it switches adapters on again.
    trainable = {weight: weight.requires_grad for weight in loaded.model.parameters()}
    try:
        with loaded.model.disable_adapter():
            yield loaded
    finally:
        for weight, flag in trainable.items():
            weight.requires_grad_(flag)
