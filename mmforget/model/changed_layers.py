"""Adapters of feed-forward layers that add something else than the product of their factors, and what is left of them.

What they add has any rank: in the end it lies in an ordinary adapter of full rank, one factor of which is the identity,
so that whoever loads adapters can load it, on weights in full precision or packed. Shapes: a weight is [O, I].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmforget.errors import UserError
from mmforget.model.loaded import ADAPTER, LoadedModel

Change = Callable[..., Tensor]
"""`(product, *, scaling)`: what is added to a weight [O, I], made of the product [O, I] of the adapter's factors."""


class _Changing:
    """What PEFT calls in place of an adapter's two products: a variant of LoRA, in its words."""

    def __init__(self, change: Change) -> None:
        self.change = change

    def added(self, layer: Any) -> Tensor:
        """What a layer's adapter adds to its weight: [O, I]."""
        product = layer.lora_B[ADAPTER].weight @ layer.lora_A[ADAPTER].weight
        return self.change(product, scaling=layer.scaling[ADAPTER])

    def forward(self, layer: Any, active_adapter: str, x: Tensor, result: Tensor, **kwargs: Any) -> Tensor:
        found: Tensor = result + functional.linear(layer.lora_dropout[active_adapter](x), self.added(layer))
        return found


def change_layers(loaded: LoadedModel, change: Change) -> list[str]:
    """Makes the adapters of feed-forward layers add what `change` says; returns the names of these layers.

    Raises UserError where no such layer has an adapter, or routed experts have one.
    """
    if loaded.model.peft_config[ADAPTER].target_parameters:
        raise UserError(
            "this method changes what adapters of feed-forward layers add, and routed experts are no layers; leave "
            "them out of target_modules"
        )
    found = {name: layer for name, layer in _layers(loaded).items() if not _is_attention(loaded.core, name)}
    if not found:
        raise UserError(
            "this method changes what adapters of feed-forward layers add, and none has one; put adapters on them "
            "(--lora_target_modules), or leave target_modules out"
        )
    for layer in found.values():
        layer.lora_variant[ADAPTER] = _Changing(change)
    return list(found)


@torch.no_grad()
def make_plain(loaded: LoadedModel) -> None:
    """Puts ordinary factors of full rank in the place of changed ones, which add the same and do not train."""
    if not loaded.has_adapter:
        return
    config = loaded.model.peft_config[ADAPTER]
    for name, layer in _layers(loaded).items():
        changing = layer.lora_variant.get(ADAPTER)
        if not isinstance(changing, _Changing):
            continue
        del layer.lora_variant[ADAPTER]
        down, up = _factors(changing.added(layer))
        layer.lora_A[ADAPTER], layer.lora_B[ADAPTER] = _linear(down), _linear(up)
        layer.r[ADAPTER] = layer.lora_alpha[ADAPTER] = len(down)
        layer.scaling[ADAPTER] = 1.0
        config.rank_pattern[name] = config.alpha_pattern[name] = len(down)


def _factors(added: Tensor) -> tuple[Tensor, Tensor]:
    """[r, I] and [O, r], r the smaller of both, whose product is exactly that."""
    num_out, num_in = added.shape
    one = torch.eye(min(num_out, num_in), dtype=added.dtype, device=added.device)
    return (one, added) if num_in <= num_out else (added, one)


def _linear(weight: Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    made.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    return made


def _layers(loaded: LoadedModel) -> dict[str, Any]:
    """Layers with an adapter, by name."""
    from peft.tuners.lora import LoraLayer

    return {name: one for name, one in loaded.core.named_modules() if isinstance(one, LoraLayer)}


def _is_attention(core: nn.Module, name: str) -> bool:
    """Whether a layer is part of attention, by the kinds of the modules that it lies in."""
    parts = name.split(".")
    above = (core.get_submodule(".".join(parts[:end])) for end in range(1, len(parts)))
    return any("attention" in type(module).__name__.lower() for module in above)
