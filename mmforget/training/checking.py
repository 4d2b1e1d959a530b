"""Checks that run with every training, since they cost next to nothing: what is to move moves, and nothing else does.

PyTorch counts how often a tensor was written to in place, so that frozen weights are told from changed ones without
reading them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from mmforget import parallel
from mmforget.errors import RunFailed, UserError
from mmforget.methods.computing import Part
from mmforget.model.loaded import LoadedModel

logger = logging.getLogger(__name__)
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


@dataclass
class Reach:
    """Which terms of a loss depend on what trains, told of one after the other of the portions it is computed in.

    Attributes:
        terms: by name, whether any portion so far reached a weight; one that is 0 may reach none.
        parts: that were differentiated, None: all of the loss.
    """

    terms: dict[str, bool] = field(default_factory=dict)
    parts: set[Part | None] = field(default_factory=set)

    def see(self, terms: Mapping[str, Tensor], *, part: Part | None) -> None:
        """What one portion came to."""
        self.parts.add(part)
        for name, term in terms.items():
            self.terms[name] = self.terms.get(name, False) or term.requires_grad or float(term) == 0

    def require(self, *, num_weights: int) -> None:
        """Raises UserError for a term that depends on no weight, as one on states of a layer below all adapters.

        Nothing is known of a loss of which a part was never differentiated.
        """
        lost = next((name for name, is_reached in self.terms.items() if not is_reached), None)
        if lost is not None and (None in self.parts or {"forget", "keep"} <= self.parts):
            raise UserError(
                f"the term '{lost}' of this method depends on none of the {num_weights} weights that train; let "
                "others train (--lora_target_modules, --lora_r 0), or have it look at another layer"
            )


def term_norms(
    terms: Mapping[str, Tensor], *, weights: Mapping[str, Tensor], masks: Mapping[str, Tensor], is_whole: bool
) -> dict[str, float]:
    """The norm of each term's gradient over the weights that train, of those that have one; the graph stays.

    Of an only term it is that of the loss, which is known later, and where weights are divided among processes none is.

    Args:
        masks: by weight, which of its elements train; of a weight without one all do.
        is_whole: whether all of the loss is differentiated, so that no term is constant but one that is 0.
    """
    found = dict.fromkeys(terms, 0.0) if is_whole else {}
    for name, term in terms.items():
        if term.requires_grad and len(terms) > 1 and not parallel.is_sharded():
            gradients = torch.autograd.grad(term, [*weights.values()], retain_graph=True, allow_unused=True)
            reached = [
                one if masks.get(weight) is None else one * masks[weight]
                for weight, one in zip(weights, gradients, strict=True)
                if one is not None
            ]
            found[name] = math.sqrt(sum(float(one.double().square().sum()) for one in reached))
    return found if len(terms) > 1 and not parallel.is_sharded() else {}


def checked_norms(
    norms: Mapping[str, float], *, whole: float | None, names: Sequence[str]
) -> dict[str, Mapping[str, float]]:
    """What a log's first line says of the terms' gradients, `grad_norms`; warns where none moves anything yet.

    Args:
        whole: the norm of the loss's own gradient, which is that of an only term.
    """
    found = norms or ({names[0]: whole} if len(names) == 1 and whole is not None else {})
    if found and not any(found.values()):
        logger.warning("no term of the loss (%s) has a gradient at the first update", ", ".join(found))
    return {"grad_norms": dict(found)} if found else {}
