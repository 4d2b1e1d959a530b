"""A LoRA layer's forward and backward pass without its large intermediate results.

PEFT computes `base(x) + B(A(x)) * scaling` with two results of the layer's whole width beside the output, and as many
again in the backward pass. Here the product of rank r is added where the output lies:

    y = x W' + b + s (x A') B'        gradients: x: g W + s (g B) A,  A: s (g B)' x,  B: s g' (x A')

Shapes: N tokens, I and O widths of the layer, r rank.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional


class _Adapted(Function):
    """x [N, I], weight [O, I], bias [O] or None, down [r, I], up [O, r], scaling to [N, O]."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scaling: float
    ) -> Tensor:
        low = x @ down.T
        ctx.save_for_backward(x, weight, down, up, low)
        ctx.scaling = scaling
        return functional.linear(x, weight, bias).addmm_(low, up.T, alpha=scaling)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        x, weight, down, up, low = ctx.saved_tensors
        wants_x, wants_weight, wants_bias, wants_down, wants_up, _ = ctx.needs_input_grad
        if torch.is_grad_enabled():
            # For gradients of gradients: what was kept does not say how it came about.
            low = x @ down.T
        low_grad = (grad @ up) * ctx.scaling
        return (
            torch.addmm(grad @ weight, low_grad, down) if wants_x else None,
            grad.T @ x if wants_weight else None,
            grad.sum(0) if wants_bias else None,
            low_grad.T @ x if wants_down else None,
            (grad.T @ low) * ctx.scaling if wants_up else None,
            None,
        )


class LeanLinear(LoraLinear):  # type: ignore[misc]
    """PEFT's LoRA layer, which computes the common case leanly and leaves every other to PEFT."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """PEFT's result, within rounding."""
        name = _plain_adapter(self)
        if name is None or args or kwargs or not _fits(self, x, name=name):
            found: Tensor = super().forward(x, *args, **kwargs)
            return found
        base, down, up = self.base_layer, self.lora_A[name].weight, self.lora_B[name].weight
        flat = x.reshape(-1, x.shape[-1])
        product: Any = _Adapted.apply
        result: Tensor = product(flat, base.weight, base.bias, down, up, self.scaling[name])
        return result.view(*x.shape[:-1], -1)


def use_lean_forward(model: nn.Module) -> None:
    """Makes every plain LoRA layer of `model` a `LeanLinear`, in place."""
    for module in model.modules():
        if type(module) is LoraLinear:
            module.__class__ = LeanLinear


def _plain_adapter(layer: Any) -> str | None:
    """The one adapter that is on, where it is LoRA as published and nothing else; else None."""
    if layer.disable_adapters or layer.merged or len(layer.active_adapters) != 1:
        return None
    name: str = layer.active_adapters[0]
    if name not in layer.lora_A or name in layer.lora_variant or layer.lora_bias[name]:
        return None
    return name


def _fits(layer: Any, x: Tensor, *, name: str) -> bool:
    """Whether nothing random and no cast comes between: dropout, autocast, weights of several dtypes."""
    dropout = layer.lora_dropout[name]
    if layer.training and not isinstance(dropout, nn.Identity) and dropout.p > 0:
        return False
    inner = (layer.lora_A[name], layer.lora_B[name])
    weights = (layer.base_layer.weight, *(module.weight for module in inner))
    same = all(weight.dtype == x.dtype and type(weight) is nn.Parameter for weight in weights)
    plain = type(layer.base_layer) is nn.Linear and not any(map(_is_watched, (layer.base_layer, *inner)))
    return same and plain and not torch.is_autocast_enabled(x.device.type)


def _is_watched(module: nn.Module) -> bool:
    """Whether somebody reads or steers a module, which therefore has to be called itself."""
    return bool(module._forward_hooks or module._forward_pre_hooks)
