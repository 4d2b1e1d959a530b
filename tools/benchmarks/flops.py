"""How much arithmetic the distinct tokens need in every layer, whoever reads the result.

Sequences about the same images form a tree of tokens, counted here node by node and not with mmforget's packing. What
is left out, as the last layer of tokens that predict nothing, counts as if it had been computed: the share of
attainable operations says how fast a model's tokens pass, as model FLOPs utilisation does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import nn

from mmforget.model.encode import Encoded


class Tree(NamedTuple):
    """Distinct tokens of some sequences.

    Attributes:
        num_tokens: distinct tokens: same images, same tokens before it, same token.
        num_pairs: pairs of a token and one that it sees, itself included.
        num_predictors: distinct tokens whose distribution is asked for.
        num_images: distinct images.
    """

    num_tokens: int
    num_pairs: int
    num_predictors: int
    num_images: int


def tree_of(encoded: Sequence[Encoded]) -> Tree:
    """Counts the distinct tokens of sequences whose answers are scored."""
    nodes: dict[tuple[object, int], int] = {}
    pairs, predictors, images = 0, set[int](), set[str]()
    for one in encoded:
        images.update(one.image_keys)
        node: object = one.image_keys
        for at, token in enumerate(one.ids):
            if at >= one.num_context:
                predictors.add(int(node))  # type: ignore[call-overload]
            key = (node, token)
            if key not in nodes:
                nodes[key] = len(nodes)
                pairs += at + 1
            node = nodes[key]
    return Tree(len(nodes), pairs, len(predictors), len(images))


class Work(NamedTuple):
    """Floating-point operations of one pass over a tree."""

    forward: float
    lora_training: float


def work_of(core: Any, tree: Tree, *, num_lora: int = 0) -> Work:
    """Operations of a LLaVA model on a tree.

    Forward: 2 x parameters of the linear layers x tokens (decoder layers for all tokens, head for predictors, tower and
    projector for the tokens of every image once), and 4 x width for every pair of tokens and layer (QK and PV).
    Training of adapters alone: forward, and again as much for gradients of activations in linear layers, twice as much
    in attention, and 6 x adapter parameters x tokens; nothing behind the images, and no gradients of frozen weights.
    """
    inner, text, vision = core.model, core.config.text_config, core.config.vision_config
    linear = 2.0 * _linear_parameters(inner.language_model.layers) * tree.num_tokens
    attention = 4.0 * text.hidden_size * text.num_hidden_layers * tree.num_pairs
    head = 2.0 * core.lm_head.weight.numel() * tree.num_predictors
    patches = (vision.image_size // vision.patch_size) ** 2 + 1
    tower = 2.0 * _linear_parameters(inner.vision_tower) * patches
    tower += 4.0 * vision.hidden_size * vision.num_hidden_layers * patches**2
    seeing = tree.num_images * (tower + 2.0 * _linear_parameters(inner.multi_modal_projector) * (patches - 1))
    forward = linear + attention + head + seeing
    return Work(forward, forward + linear + 2 * attention + head + 6.0 * num_lora * tree.num_tokens)


def _linear_parameters(module: nn.Module) -> int:
    """Weights of linear layers, adapters left aside; patch embeddings are 1 % of a tower and not counted."""
    total = 0
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear) and "lora_" not in name:
            total += part.in_features * part.out_features
    return total
