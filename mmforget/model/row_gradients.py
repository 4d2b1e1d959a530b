"""Gradients of single answers, one after the other: influences, squares and saliency are made of them.

Shapes: N answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.model.activations import decoder_layers, evaluating, layer_number
from mmforget.model.encode import Encoded
from mmforget.model.loaded import LoadedModel
from mmforget.types import Scored

Score = Callable[[Sequence[Encoded]], Scored]
ATTENTION = ("attn", "attention")
"""In the names of the modules of a decoder layer that attend."""
ADAPTED = "lora_"


def row_gradients(
    loaded: LoadedModel, encoded: Sequence[Encoded], *, weights: Mapping[str, Tensor], score: Score
) -> Iterator[dict[str, Tensor]]:
    """Of each answer, by name, the gradient of its NLL a token at weights of the model: float32, none where it is 0.

    The model is in evaluation mode meanwhile, and asks for no other gradients; afterwards it is as it was.
    """
    with _differentiable(loaded, weights):
        for one in encoded:
            nll = -score([one]).token_logprobs.sum() / one.num_answer
            found = torch.autograd.grad(nll, list(weights.values()), allow_unused=True)
            yield {
                name: gradient.float() for name, gradient in zip(weights, found, strict=True) if gradient is not None
            }


def mean_squares(
    loaded: LoadedModel, encoded: Sequence[Encoded], *, weights: Mapping[str, Tensor], score: Score
) -> dict[str, Tensor]:
    """By name, float32 of the weight's shape: squared gradients of an answer's NLL a token, averaged over tokens."""
    total = {name: torch.zeros_like(weight, dtype=torch.float32) for name, weight in weights.items()}
    found = row_gradients(loaded, encoded, weights=weights, score=score)
    for one, gradients in zip(encoded, found, strict=True):
        for name, gradient in gradients.items():
            total[name] += one.num_answer * gradient.square()
    num_tokens = sum(one.num_answer for one in encoded)
    return {name: square / max(1, num_tokens) for name, square in total.items()}


def influences(
    loaded: LoadedModel, encoded: Sequence[Encoded], *, from_depth: float, damping: float, score: Score
) -> Tensor:
    """-g_i . (g / (mean g^2 + damping)) of each answer: float32 [N], on the CPU.

    g_i is the gradient of its NLL a token at the weights of attention from a depth on, g their mean. Divided by N it is
    by how much that mean NLL would change, to first order, had the model learnt all answers but this one, the Hessian
    being the diagonal of the Fisher information. Two passes over the answers; no gradients are kept of more than one.

    Raises UserError for quantised weights, which have no gradients.
    """
    weights = attention_weights(loaded, from_depth=from_depth)
    total = {name: torch.zeros_like(weight, dtype=torch.float32) for name, weight in weights.items()}
    squares = {name: torch.zeros_like(one) for name, one in total.items()}
    for gradients in row_gradients(loaded, encoded, weights=weights, score=score):
        for name, gradient in gradients.items():
            total[name] += gradient
            squares[name] += gradient.square()
    num = len(encoded)
    towards = {name: one / num / (squares[name] / num + damping) for name, one in total.items()}
    each = [
        -sum(float((gradient * towards[name]).sum()) for name, gradient in gradients.items())
        for gradients in row_gradients(loaded, encoded, weights=weights, score=score)
    ]
    return torch.tensor(each, dtype=torch.float32)


def attention_weights(loaded: LoadedModel, *, from_depth: float) -> dict[str, Tensor]:
    """The model's own matrices of attention, by name, in decoder layers from a share of the depth on.

    Raises UserError where they are quantised, or where no part of these layers is called attention.
    """
    if loaded.quantisation is not None:
        raise UserError(
            f"influences of answers are read off gradients of the weights, and quantised ones ({loaded.quantisation}) "
            "have none; load the model without load_in_4bit and load_in_8bit"
        )
    first = layer_number(loaded.core, from_depth)
    found: dict[str, Tensor] = {
        f"{number}.{name}": weight
        for number, layer in enumerate(decoder_layers(loaded.core))
        for name, weight in layer.named_parameters()
        if number >= first and weight.dim() == 2 and ADAPTED not in name and any(part in name for part in ATTENTION)
    }
    if not found:
        raise UserError("influences of answers are read off attention, and no part of the model's layers is called so")
    return found


@contextmanager
def _differentiable(loaded: LoadedModel, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside, these weights alone ask for gradients, in evaluation mode."""
    flags = {weight: weight.requires_grad for weight in loaded.model.parameters()}
    try:
        loaded.model.requires_grad_(False)
        for weight in weights.values():
            weight.requires_grad_(True)
        with evaluating(loaded.model), torch.enable_grad():
            yield
    finally:
        for weight, flag in flags.items():
            weight.requires_grad_(flag)
