"""Adapters that begin as a part of the weights, which is taken away elsewhere: at first the model is what it was.

What is taken away is a second adapter, which does not train. Source: FILA, https://arxiv.org/abs/2408.06621; there it
is taken from the weights themselves, which amounts to the same and leaves no model before training to compare with.
Shapes: a weight is [O, I], r the rank.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.model.loaded import ADAPTER, LoadedModel, adapter_tensors

TAKEN_AWAY = "taken_away"
"""PEFT's name of the adapter that does not train."""
Factors = tuple[Tensor, Tensor]
"""[r, I] and [O, r]."""


def require_gradients(loaded: LoadedModel) -> None:
    """Raises UserError for weights without gradients, or that are no layers."""
    if loaded.quantisation is not None:
        raise UserError(
            f"adapters begin by the gradients of the weights, and quantised ones ({loaded.quantisation}) have none; "
            "load the model without load_in_4bit and load_in_8bit"
        )
    if loaded.model.peft_config[ADAPTER].target_parameters:
        raise UserError("adapters of routed experts cannot begin as a part of them; leave these out of target_modules")


def weights_below(loaded: LoadedModel) -> dict[str, Tensor]:
    """The weights [O, I] below adapters, by layer."""
    return {name: layer.get_base_layer().weight for name, layer in _layers(loaded).items()}


@torch.no_grad()
def begin_at(
    loaded: LoadedModel, factors: Callable[..., Factors], *, squares: Mapping[str, Mapping[str, Tensor]]
) -> None:
    """Puts every adapter at the factors of its layer's weight, and beside it one that takes the same away.

    Args:
        factors: `(weight, *, rank, scaling, **squares) -> [r, I] and [O, r]`.
        squares: mean squared gradients by source, then by layer.
    """
    layers, trainable = _layers(loaded), loaded.trainable().keys()
    config = copy.deepcopy(loaded.model.peft_config[ADAPTER])
    config.lora_dropout, config.modules_to_save = 0.0, None
    loaded.model.add_adapter(TAKEN_AWAY, config)
    for name, layer in layers.items():
        own = {source: found[name] for source, found in squares.items()}
        weight, scaling = layer.get_base_layer().weight, layer.scaling[ADAPTER]
        down, up = factors(weight, rank=layer.r[ADAPTER], scaling=scaling, **own)
        for adapter, sign in ((ADAPTER, 1), (TAKEN_AWAY, -1)):
            _fill(layer.lora_A[adapter].weight, down)
            _fill(layer.lora_B[adapter].weight, sign * up)
        layer.set_adapter([ADAPTER, TAKEN_AWAY])
    # PEFT makes every adapter's weights trainable, and no others.
    for name, parameter in loaded.model.named_parameters():
        parameter.requires_grad_(name in trainable)


def as_one(loaded: LoadedModel) -> tuple[Any, dict[str, Tensor]]:
    """Configuration and tensors of the adapter; with what it takes away as one of twice the rank."""
    from peft import get_peft_model_state_dict

    config, tensors = loaded.model.peft_config[ADAPTER], adapter_tensors(loaded)
    if TAKEN_AWAY not in loaded.model.peft_config:
        return config, tensors
    config = copy.deepcopy(config)
    config.r, config.lora_alpha = 2 * config.r, 2 * config.lora_alpha
    away = get_peft_model_state_dict(loaded.model, adapter_name=TAKEN_AWAY, save_embedding_layers=False)
    both = {name: torch.cat([tensors[name], one], dim=0 if "lora_A" in name else 1) for name, one in away.items()}
    return config, tensors | both


def _fill(weight: Tensor, values: Tensor) -> None:
    """A weight with fewer rows or columns than the rank has fewer factors; the others are 0."""
    weight.zero_()
    weight[: values.shape[0], : values.shape[1]] = values


def _layers(loaded: LoadedModel) -> dict[str, Any]:
    """Layers with an adapter, by name."""
    from peft.tuners.lora import LoraLayer

    return {name: one for name, one in loaded.core.named_modules() if isinstance(one, LoraLayer)}
