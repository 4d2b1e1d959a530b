"""The one model that a process holds, whatever it does next: another method, seed or request."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path

import torch

from mmforget import parallel
from mmforget.errors import UserError
from mmforget.model.load import load_model, save_merged
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import detach, load_adapter
from mmforget.model.spec import ModelSpec
from mmforget.training.guarding import adapter_of, put_up


class Models:
    """Models by their spec, of which one at a time is in memory.

    Asked for the same one again it is there; asked for the same base with another adapter or none, only that changes.
    Whoever changes weights in place, as training without adapters does, has it forgotten.
    """

    def __init__(self) -> None:
        self._held: LoadedModel | None = None

    def get(self, spec: ModelSpec) -> LoadedModel:
        """The model of `spec`, frozen, behind its guard if it names one; else what `load_model` gives.

        The one that was held before is of no use any more.
        """
        if spec.guard is not None:
            folder = Path(spec.guard)
            return put_up(self.get(_below(spec, brought=adapter_of(folder))), folder)
        if self._held is not None and self._held.spec == spec:
            return self._held
        base = replace(spec, peft=None) if spec.has_unmerged_adapter else spec
        below = self._without_adapter()
        if below is None or below.spec != base:
            del below
            self.forget()
            self._held = load_model(spec)
        elif spec.peft is None:
            self._held = below
        else:
            self._held = load_adapter(below, Path(spec.peft))
        return self._held

    def forget(self) -> None:
        """Nothing is held any more, and its memory is free."""
        self._held = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _without_adapter(self) -> LoadedModel | None:
        """What is held with no adapter on it; None where there is nothing, or an adapter has replaced weights."""
        held, self._held = self._held, None
        if held is None:
            return None
        try:
            return detach(held)
        except UserError:
            return None


def merged_in(folder: Path, spec: ModelSpec) -> ModelSpec:
    """The same model without an adapter of its own: with that merged, saved whole in a folder unless it lies there."""
    if spec.peft is None:
        return spec
    merged = replace(spec, merge_peft=True)
    place = parallel.on_main(lambda: save_merged(merged, folder))
    return replace(spec, pretrained=str(place), revision=None, peft=None, merge_peft=False)


def _below(spec: ModelSpec, *, brought: Path | None) -> ModelSpec:
    """What a guard stands before: the model, with the adapter that the guard brings."""
    if brought is not None and spec.peft is not None:
        raise UserError(
            f"guard={spec.guard} brings an adapter of its own, and the model has peft={spec.peft}; give a model without"
        )
    below = replace(spec, guard=None)
    return below if brought is None else replace(below, peft=str(brought))
