"""Linear layers of the language model replaced or changed for a while, and put back bit by bit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmforget.errors import UserError
from mmforget.model.fingerprint import join
from mmforget.model.loaded import LoadedModel
from mmforget.model.merging import Whole, kept


class Altered(NamedTuple):
    """What becomes of a layer.

    Attributes:
        weight: its new weight, of the same shape.
        layer: another layer that stands in for it; then `weight` is not read.
        counts: what is counted on the way, by name; summed over layers.
    """

    weight: Tensor | None = None
    layer: nn.Module | None = None
    counts: Mapping[str, int] = {}


Alter = Callable[[nn.Linear, Tensor | None], Altered]
"""What becomes of a layer; the tensor is its weight without the adapter, None where the model carried none."""


@contextmanager
def altered(whole: Whole, alter: Alter, *, name: str, folder: Path) -> Iterator[tuple[LoadedModel, Mapping[str, int]]]:
    """Inside, the model with every linear layer of its decoder altered, and the counts; afterwards it is what it was.

    Args:
        name: identifies the alteration; with the model's fingerprint it names what the altered model answers.

    Raises UserError for a model whose weights are quantised.
    """
    loaded, counts = whole.loaded, Counter[str]()
    if loaded.quantisation is not None:
        raise UserError(f"weights are altered in full precision, and the model's are quantised ({loaded.quantisation})")
    with ExitStack() as undone:
        for number, (path, layer) in enumerate(linear_layers(loaded).items()):
            made = alter(layer, whole.before(path))
            counts.update(made.counts)
            if made.layer is not None:
                undone.callback(loaded.core.set_submodule, path, layer)
                loaded.core.set_submodule(path, made.layer)
            elif made.weight is not None:
                undone.enter_context(kept(layer, folder / f"altered-{number}.safetensors"))
                with torch.no_grad():
                    layer.weight.copy_(made.weight)
        fingerprint = join("altered", name, loaded.fingerprint)
        yield replace(loaded, fingerprint=fingerprint, base_fingerprint=fingerprint), counts


def linear_layers(loaded: LoadedModel) -> dict[str, nn.Linear]:
    """The linear layers of the decoder by their path in the core: what is quantised when a model is loaded in 4 bit."""
    inside = {id(module) for module in loaded.core.get_decoder().modules()}
    named = loaded.core.named_modules()
    return {name: module for name, module in named if id(module) in inside and isinstance(module, nn.Linear)}
