"""Checks that run with every training, since they cost next to nothing: what was to move moved, and nothing else did.

PyTorch counts how often a tensor was written to in place, so that frozen weights are told from changed ones without
reading them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from mmforget import parallel
from mmforget.errors import RunFailed
from mmforget.model.loaded import LoadedModel

NUM_NAMED = 3


@contextmanager
def frozen_stay(model: nn.Module, *, folder: Path) -> Iterator[None]:
    """Raises RunFailed where a weight or buffer that does not train was written to inside."""
    before = _written(model)
    yield
    changed = [key[0] for key, times in _written(model).items() if before.get(key, times) != times]
    if changed:
        raise RunFailed(
            f"training in {folder} changed {len(changed)} weights that do not train "
            f"({', '.join(changed[:NUM_NAMED])}); the method, or a part of the model, writes to them"
        )


def _written(model: nn.Module) -> dict[tuple[str, int], int]:
    """How often each tensor that does not train was written to; one that took the place of another counts anew."""
    frozen = {name: one for name, one in model.named_parameters() if not one.requires_grad}
    tensors: dict[str, Tensor] = {**frozen, **dict(model.named_buffers())}
    return {(name, id(one)): one._version for name, one in tensors.items() if not one.is_inference()}


def sums(loaded: LoadedModel) -> dict[str, float]:
    """The squared norm of every weight that trains, in float64: what tells whether any has moved."""
    with torch.no_grad():
        return {name: float(one.detach().double().square().sum()) for name, one in loaded.trainable().items()}


def require_moved(loaded: LoadedModel, *, since: dict[str, float], folder: Path) -> None:
    """Raises RunFailed where every weight is what it was, as after steps that are too small for its dtype."""
    if parallel.is_sharded() or sums(loaded) != since:
        return
    dtypes = sorted({str(one.dtype).removeprefix("torch.") for one in loaded.trainable().values()})
    raise RunFailed(
        f"training in {folder} ended and no weight has changed: its steps are too small for "
        f"{' and '.join(dtypes)}, or its gradients are zero; raise --lr, or train adapters in float32 (--lora_r 8)"
    )
