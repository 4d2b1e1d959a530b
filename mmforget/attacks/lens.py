"""What attacks by the logit lens have in common: at which layers they look, and how a place in a list is counted.

Layers are numbered as Hugging Face numbers hidden states: 1 is what the first decoder layer puts out, and the last one
has the number of layers. Source: UnLOK-VQA (arXiv 2505.01456) and its forerunner (arXiv 2309.17410), released code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, ClassVar, Literal

from mmforget.asking import Depth
from mmforget.errors import AttackRefused
from mmforget.methods.arguments import require_positive

if TYPE_CHECKING:
    from torch import Tensor

Variant = Literal["faithful", "clean"]
Ends = Literal["top", "both"]
PUBLISHED_DEPTH = 32
"""Layers of the model that the published numbers of layers are those of."""


@dataclass(frozen=True)
class LensAttack:
    """What an attack by the logit lens is made of; it adds `name`, `published`, `least`, `label` and `ranks`.

    Args:
        variant: `clean` looks for every token of the answer behind those before it, in float32, and a tie is no hit.
            `faithful` looks for the first token alone, in half precision, normalises the last layer twice, and a tie is
            a hit.
        layers: numbers of hidden states, the last layer being the model's number of layers; none: the published ones,
            at the same share of the depth in a model of another.
        budget: candidates over all lists, which share them evenly; every other budget is known from the ranks, too.
    """

    variant: Variant = "clean"
    layers: tuple[int, ...] = ()
    budget: int = 20

    name: ClassVar[str]
    published: ClassVar[Mapping[int, Sequence[int]]]
    least: ClassVar[int] = 1
    access: ClassVar[Literal["hidden"]] = "hidden"
    modality: ClassVar[Literal["any"]] = "any"
    kinds: ClassVar[tuple[str, ...]] = ("gen",)
    sets: ClassVar[Literal["forget"]] = "forget"
    cost: ClassVar[str] = "one forward pass of a question and its answer, shared by all attacks on hidden states"

    def __post_init__(self) -> None:
        require_positive(budget=self.budget)

    @property
    def is_whole(self) -> bool:
        return self.variant == "clean"

    def depths(self, num_layers: int) -> tuple[Depth, ...]:
        """Raises UserError for a layer that the model has not, and for too few."""
        layers = self.layers or layers_of(self.published, num_layers=num_layers, least=self.least)
        require_layers(self.name, layers, num_layers=num_layers)
        if len(layers) < self.least:
            raise AttackRefused(
                self.name,
                f"compares {self.least} layers, and {len(layers)} are given of the model's {num_layers}; name more in "
                "layers=[...]",
            )
        is_double = self.variant == "faithful"
        return tuple(Depth(layer - 1, 2 if is_double and layer == num_layers else 1) for layer in layers)


def require_layers(attack: str, layers: Sequence[int], *, num_layers: int) -> None:
    """Raises UserError, which names the attack, for a layer that the model has not."""
    wrong = [layer for layer in layers if not 1 <= layer <= num_layers]
    if wrong:
        raise AttackRefused(attack, f"layer {wrong[0]} is asked about, and the model has 1 to {num_layers}")


def layers_of(published: Mapping[int, Sequence[int]], *, num_layers: int, least: int = 1) -> tuple[int, ...]:
    """The published layers of a model of this depth, else those at the same share of its depth, each once.

    Args:
        published: numbers of layers by depth; `PUBLISHED_DEPTH` is among the depths.
        least: so many consecutive layers have to be there; where the shares give fewer, earlier ones join them.
    """
    if num_layers in published:
        return tuple(published[num_layers])
    shares = published[PUBLISHED_DEPTH]
    found = tuple(dict.fromkeys(ceil(layer * num_layers / PUBLISHED_DEPTH) for layer in shares))
    return found if len(found) >= least else tuple(range(max(1, num_layers - least + 1), num_layers + 1))


def probabilities(logits: Tensor, *, variant: Variant) -> Tensor:
    """Of each token [D, V]: in float32, or as `faithful` in half precision, where many are exactly 0."""
    return logits.half().softmax(-1) if variant == "faithful" else logits.float().softmax(-1)


def counted(values: Tensor, token: int, *, variant: Variant) -> tuple[int, ...]:
    """In each row of values [N, V], how many tokens come before this one, counted and not sorted.

    `faithful`: those with a larger value, so that a tie is a hit. `clean`: those with a value that is not smaller, so
    that nothing is found where all are alike. What is no number comes before every other.
    """
    own = values[:, token, None]
    before = ~(values <= own) if variant == "faithful" else ~(values < own)
    found = before.sum(-1) - int(variant == "clean")
    return tuple(found.clamp(0, values.shape[-1] - 1).tolist())


def at_ends(values: Tensor, token: int, *, variant: Variant, ends: Ends) -> tuple[int, ...]:
    """`counted` from the top, and where both ends count from the bottom as well."""
    top = counted(values, token, variant=variant)
    return top if ends == "top" else top + counted(-values, token, variant=variant)
