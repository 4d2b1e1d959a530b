"""Linear layers of the language model replaced or changed for a while, and put back bit by bit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from mmforget.model.site import ModelSite
from mmforget.types import Example


class Linear(NamedTuple):
    """A linear layer of the decoder as an alteration gets it.

    Attributes:
        name: its path in the model, e.g. `model.language_model.layers.0.mlp.up_proj`.
        module: the layer, which must stay as it is.
        before: its weight without the adapter, on the CPU; None where the model carried none.
        inputs: float32 [in], root mean square of each of its inputs over the tokens of rows to keep; None where the
            alteration looks at none.
    """

    name: str
    module: nn.Linear
    before: Tensor | None = None
    inputs: Tensor | None = None


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


Alter = Callable[[Linear], Altered]
NOTHING_SEEN: Mapping[str, Tensor] = {}


@contextmanager
def altered(
    whole: Whole, alter: Alter, *, name: str, folder: Path, inputs: Mapping[str, Tensor] = NOTHING_SEEN
) -> Iterator[tuple[LoadedModel, Mapping[str, int]]]:
    """Inside, the model with every linear layer of its decoder altered, and the counts; afterwards it is what it was.

    Args:
        name: identifies the alteration; with the model's fingerprint it names what the altered model answers.
        inputs: what layers take in; see `seen_inputs`.

    Raises UserError for a model whose weights are quantised.
    """
    loaded, counts = whole.loaded, Counter[str]()
    if loaded.quantisation is not None:
        raise UserError(f"weights are altered in full precision, and the model's are quantised ({loaded.quantisation})")
    with ExitStack() as undone:
        for number, (path, layer) in enumerate(linear_layers(loaded).items()):
            made = alter(Linear(path, layer, whole.before(path), inputs.get(path)))
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


def seen_inputs(loaded: LoadedModel, examples: Sequence[Example]) -> dict[str, Tensor]:
    """By path, the root mean square of each input of the decoder's linear layers, float32 [in], over all tokens.

    A token counts once for every example that it is in. Raises UserError for weights that are quantised or routed
    experts, BadData for examples that cannot be encoded.
    """
    layers = linear_layers(loaded)
    squares = {name: torch.zeros(layer.in_features, dtype=torch.float64) for name, layer in layers.items()}
    num = Counter[str]()

    def take(name: str, values: Tensor, counts: Tensor) -> None:
        squares[name] += (values.double().square() * counts[:, None].double()).sum(0).cpu()
        num[name] += int(counts.sum())

    ModelSite(loaded, append_eos=False).visit(examples, names=list(layers), take=take, inputs=True)
    return {name: (total / max(num[name], 1)).sqrt().float() for name, total in squares.items()}
