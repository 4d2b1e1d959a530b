"""A model's hidden states are put into the target model, one layer at a time, to see whether the answer still comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from mmforget.asking import Depth
from mmforget.attacks.lens import require_layers
from mmforget.benchmark.document import MetricName


@dataclass(frozen=True)
class ActivationPatching:
    """States of the places that predict the answer's tokens, in place of the target model's own, layer by layer.

    Where the answer comes nonetheless, the states hold what the target model makes it of. What a model lacks that never
    saw it, the retain model's states, is measured on the target model; of an unlearned model the target is what its
    adapter stands on, so that no second model is held. `unlearning_depth` is the number.

    Source: the Unlearning Depth Score (arXiv 2605.24614), which puts the states of an annotated entity's tokens alone.

    Args:
        layers: numbers of hidden states, the last layer being the model's number of layers; none: all.
    """

    layers: tuple[int, ...] = ()

    access: ClassVar[Literal["hidden"]] = "hidden"
    modality: ClassVar[Literal["any"]] = "any"
    label: ClassVar[str] = "activation patching"
    kinds: ClassVar[tuple[str, ...]] = ("gen",)
    sets: ClassVar[Literal["forget"]] = "forget"
    into: ClassVar[Literal["target"]] = "target"
    budget: ClassVar[int] = 1
    cost: ClassVar[str] = "a forward pass of question and answer for each layer, and the retain model's states on disk"
    metrics: ClassVar[tuple[MetricName, ...]] = (MetricName("unlearning_depth"),)

    def depths(self, num_layers: int) -> tuple[Depth, ...]:
        """Raises UserError for a layer that the model has not."""
        layers = self.layers or tuple(range(1, num_layers + 1))
        require_layers("activation_patching", layers, num_layers=num_layers)
        return tuple(Depth(layer - 1) for layer in layers)


ATTACK = ActivationPatching
