"""How large the gradient of an answer's loss is at every weight: small where the answer has been trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mmforget.model.activations import evaluating
from mmforget.model.encode import Encoded
from mmforget.model.loaded import LoadedModel
from mmforget.model.scoring import score
from mmforget.types import GRADIENT_NORM, GRADIENT_NORM_BUT_LAST

ADAPTER_PARTS = ("lora_", "modules_to_save", "ranknum")
"""In the names of weights that an adapter adds: what it learns may lie in the model's own weights as well."""


def why_none(loaded: LoadedModel) -> str:
    """Why a model has no gradients to measure; empty where it has."""
    if loaded.quantisation is not None:
        return f"weights quantised to {loaded.quantisation} have no gradients"
    return "logits are mixed of several passes" if loaded.mix is not None or loaded.stack is not None else ""


def gradient_norms(loaded: LoadedModel, encoded: Encoded) -> dict[str, float]:
    """By name, mean over the model's weight tensors of the L2 norm of the gradient of an answer's mean negative
    log-prob: of all its tokens, and, where there are more than one, of all but the last.

    From one forward pass in evaluation mode. A tensor without a gradient, as those of a vision tower are without an
    image, takes no part; nor does an adapter's, so that a model counts the same with its adapter and merged with it.
    """
    with _differentiable(loaded.model) as weights, torch.enable_grad():
        logprobs = score(loaded, [encoded], packed=False).token_logprobs[0]
        losses = {GRADIENT_NORM: -logprobs.mean()}
        if len(logprobs) > 1:
            losses[GRADIENT_NORM_BUT_LAST] = -logprobs[:-1].mean()
        last = list(losses)[-1]
        return {name: _mean_norm(loss, weights, keeps=name != last) for name, loss in losses.items()}


def _mean_norm(loss: Tensor, weights: Sequence[Tensor], *, keeps: bool) -> float:
    """Mean norm of the gradients that there are; `keeps` what the next loss needs."""
    found = torch.autograd.grad(loss, weights, retain_graph=keeps, allow_unused=True)
    norms = [gradient.float().norm() for gradient in found if gradient is not None]
    return float(torch.stack(norms).mean())


@contextmanager
def _differentiable(model: nn.Module) -> Iterator[Sequence[Tensor]]:
    """The model's own weights, in evaluation mode and asking for gradients, and as they were afterwards."""
    flags = {weight: weight.requires_grad for weight in model.parameters()}
    weights: Sequence[Tensor] = [
        weight
        for name, weight in model.named_parameters()
        if weight.is_floating_point() and not any(part in name for part in ADAPTER_PARTS)
    ]
    try:
        for weight in weights:
            weight.requires_grad_(True)
        with evaluating(model):
            yield weights
    finally:
        for weight, flag in flags.items():
            weight.requires_grad_(flag)
