"""Columns of the matrices that end feed-forward blocks: what a block may write into the residual stream."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.model.activations import decoder_layers
from mmforget.model.loaded import ADAPTER, LoadedModel

ENDS = ("mlp.down_proj", "mlp.fc2", "mlp.c_proj", "mlp.dense_4h_to_h")
"""What families call that matrix."""


@torch.no_grad()
def column(loaded: LoadedModel, *, layer: int, number: int) -> Tensor:
    """A column with what the adapter adds to it, float32 [H] on the CPU.

    Raises UserError for a column that is not there, a model whose matrices have no known name, and quantised weights.
    """
    layers = decoder_layers(loaded.core)
    if not 0 <= layer < len(layers):
        raise UserError(f"layer {layer} is asked about, and the model has 0 to {len(layers) - 1}")
    named = dict(layers[layer].named_modules())
    module: Any = next((named[name] for name in ENDS if name in named), None)
    if module is None:
        raise UserError(f"layer {layer} ends in none of {', '.join(ENDS)}, so it has no concept vectors")
    base = module.get_base_layer() if hasattr(module, "get_base_layer") else module
    if loaded.quantisation is not None or not base.weight.is_floating_point():
        raise UserError("the weights are quantised, and columns are read in full precision; load the model without")
    if not 0 <= number < base.weight.shape[1]:
        raise UserError(f"column {number} of layer {layer} is asked about, and it has 0 to {base.weight.shape[1] - 1}")
    found: Tensor = base.weight[:, number].float()
    if base is not module:
        found = found + module.get_delta_weight(ADAPTER)[:, number].float()
    return found.cpu()
