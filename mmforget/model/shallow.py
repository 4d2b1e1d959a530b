"""A model as its first decoder layers, its final norm and its head: a small one that shares the weights of the whole.

Source: the assistant of ULD (arXiv 2406.08607), which is cut out of the model that it assists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from mmforget.errors import UserError
from mmforget.model.activations import decoder_layers, layer_list
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings
from mmforget.model.targets import targets


@dataclass(frozen=True, eq=False)
class Layers:
    """The decoder layers of a model that has all of them in place.

    Attributes:
        listed: the list that the model goes through.
        every: what stands in it.
        configs: the configurations that say how many there are.
    """

    listed: nn.ModuleList
    every: dict[str, Any]
    configs: tuple[Any, ...]

    @contextmanager
    def first(self, number: int) -> Iterator[None]:
        """Inside, the model has so many layers alone."""
        before = self.listed._modules, [config.num_hidden_layers for config in self.configs]
        try:
            self._put(dict(list(self.every.items())[:number]), [number] * len(self.configs))
            yield
        finally:
            self._put(*before)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Inside, it has all of them again."""
        with self.first(len(self.every)):
            yield

    def _put(self, modules: dict[str, Any], numbers: list[int]) -> None:
        self.listed._modules = modules
        for config, number in zip(self.configs, numbers, strict=True):
            config.num_hidden_layers = number


def layers_of(loaded: LoadedModel) -> Layers:
    """Raises UserError for a model whose layers are not found."""
    core = loaded.core
    listed = layer_list(core)
    configs = {id(one): one for one in (core.config.get_text_config(), core.get_decoder().config)}
    return Layers(listed, dict(listed._modules), tuple(configs.values()))


@contextmanager
def shallow(loaded: LoadedModel) -> Iterator[None]:
    """Inside, the model is its first layers, where it is asked as these; else nothing changes."""
    if loaded.first_layers is None:
        yield
        return
    with layers_of(loaded).first(loaded.first_layers):
        yield


def in_first_layers(loaded: LoadedModel, settings: LoraSettings) -> LoraSettings:
    """Settings of an adapter that reaches what these do, as far as it lies in the layers that `loaded` is asked as.

    Raises UserError where none of it does.
    """
    reach = targets(loaded, wanted=settings.target_modules)
    modules = dict(loaded.core.named_modules())
    kept = decoder_layers(loaded.core)[: loaded.first_layers]
    inside = tuple(f"{name}." for name, module in modules.items() if any(module is one for one in kept))
    named = reach.modules
    reached = named if isinstance(named, list) else [name for name in modules if re.fullmatch(named, name)]
    found = [name for name in (*reached, *reach.parameters) if name.startswith(inside)]
    if not found:
        raise UserError(f"none of what LoRA reaches lies in the first {loaded.first_layers} layers; name other modules")
    return replace(settings, target_modules="|".join(map(re.escape, found)))
