"""Weights that hold no numbers: a model with them answers nothing, and should say why."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def not_finite(model: nn.Module) -> list[str]:
    """Names of the weights, adapters included, that hold NaN or infinity; packed ones are left out.

    Of weights that are divided among processes, this process's part is looked at.
    """
    named = ((name, weight) for name, weight in model.named_parameters() if weight.is_floating_point())
    return [name for name, weight in named if weight.device.type != "meta" and not _is_finite(weight)]


def _is_finite(weight: torch.Tensor) -> bool:
    weight = weight.to_local() if hasattr(weight, "to_local") else weight
    # A sum is not finite where any term is not; a finite one that overflows is looked at again.
    total = weight.sum(dtype=torch.float32)
    return bool(torch.isfinite(total)) or bool(torch.isfinite(weight).all())


def in_words(names: list[str], *, model: str) -> str:
    """One line that names the model and the first of its broken weights."""
    return (
        f"{model}: {len(names)} of its weights hold NaN or infinity, the first is {names[0]}; it cannot answer as it "
        "should, save or train it again"
    )
