"""One linear layer in 4 or 8 bit by bitsandbytes, and its codes."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from mmforget.model.quantize import prepare_quantised

Packing = Literal["nf4", "fp4", "int8"]


class Packed(NamedTuple):
    """A packed layer, and the code of each weight, uint8 [n]."""

    layer: nn.Module
    codes: Tensor


def packed(layer: nn.Linear, *, kind: Packing, weight: Tensor | None = None) -> Packed:
    """The layer as `load_in_4bit` or `load_in_8bit` makes it: blocks of 64 in 4 bit, rows in 8, no mixed precision.

    Args:
        weight: in place of the layer's own.

    Source: QLoRA (arXiv 2305.14314), LLM.int8() (arXiv 2208.07339). Scales of 4-bit blocks are not packed themselves.
    """
    own = layer.weight if weight is None else weight
    made = _empty(layer, kind=kind, weight=own.detach().to(layer.weight.dtype).cpu().clone())
    if layer.bias is not None:
        made.bias = nn.Parameter(layer.bias.detach().clone(), requires_grad=False)
    made = made.to(layer.weight.device)
    prepare_quantised(made)
    made.requires_grad_(False).eval()
    return Packed(made, _codes(made, kind=kind))


def _empty(layer: nn.Linear, *, kind: Packing, weight: Tensor) -> Any:
    """A layer of the right class that is packed once it is moved to its device."""
    import bitsandbytes as bnb

    shape = (layer.in_features, layer.out_features)
    if kind == "int8":
        made = bnb.nn.Linear8bitLt(*shape, bias=layer.bias is not None, has_fp16_weights=False, threshold=0.0)
        made.weight = bnb.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False)
        return made
    made = bnb.nn.Linear4bit(
        *shape, bias=layer.bias is not None, compute_dtype=weight.dtype, compress_statistics=False, quant_type=kind
    )
    made.weight = bnb.nn.Params4bit(weight, requires_grad=False, compress_statistics=False, quant_type=kind)
    return made


def _codes(made: Any, *, kind: Packing) -> Tensor:
    if kind == "int8":
        stored = made.weight.CB if made.weight.CB is not None else made.weight.data
        return torch.as_tensor(stored).flatten().view(torch.uint8).cpu()
    pairs = torch.as_tensor(made.weight.data).flatten().view(torch.uint8).cpu()
    return torch.stack([pairs >> 4, pairs & 15], dim=1).flatten()
