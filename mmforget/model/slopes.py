"""How the log-prob of an answer changes with what goes into a model: its tokens, its pictures, or states of a layer.

What is told is the mean log-prob of an answer's tokens, and its gradients; weights have none meanwhile. Layers are
numbered as Hugging Face numbers hidden states: 0 are the embeddings of tokens, before pictures are put in their places.
Shapes: N answers, L tokens of a question with its answer, H hidden size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mmforget.errors import UserError
from mmforget.model.activations import decoder_layers, evaluating, reading, steering
from mmforget.model.encode import Encoded
from mmforget.model.feature_cache import FeatureCache
from mmforget.model.loaded import LoadedModel
from mmforget.model.scoring import score
from mmforget.model.seen import sight_of
from mmforget.types import Scored


def token_slopes(
    loaded: LoadedModel, encoded: Sequence[Encoded], *, features: FeatureCache | None = None
) -> list[Tensor]:
    """Gradients [L, H] of each answer's mean log-prob by the embeddings of its own sequence's tokens; 0 at pictures.

    Raises UserError for a model that embeds tokens more than once.
    """
    order = sorted(range(len(encoded)), key=lambda at: -len(encoded[at]))
    embedded: list[Tensor] = []

    def leaf(output: Tensor) -> Tensor:
        embedded.append(output.detach().clone().requires_grad_())
        return embedded[-1]

    with differentiable(loaded), steering({loaded.core.get_input_embeddings(): leaf}):
        scored = score(loaded, [encoded[at] for at in order], packed=False, features=features)
        found = torch.autograd.grad(_means(scored).sum(), embedded)
    rows = [row for call in found for row in call]
    if len(rows) != len(encoded):
        raise UserError(f"{loaded.spec.pretrained} embeds tokens in a way of its own, and gives no gradients by them")
    return [rows[order.index(at)][: len(one)].detach() for at, one in enumerate(encoded)]


def shift_slope(
    loaded: LoadedModel,
    encoded: Sequence[Encoded],
    *,
    layer: int,
    vector: Tensor,
    features: FeatureCache | None = None,
) -> tuple[Tensor, Tensor]:
    """The mean log-prob of each answer [N] where `vector` [H] is added to every state of a layer, and the gradient [H]
    of their sum by it.
    """
    leaf = vector.detach().to(loaded.device, torch.float32).clone().requires_grad_()
    with differentiable(loaded), shifted(loaded, layer=layer, vector=leaf):
        means = _means(score(loaded, encoded, features=features))
        (found,) = torch.autograd.grad(means.sum(), [leaf])
    return means.detach().cpu(), found.detach().cpu()


@torch.no_grad()
def usual_length(
    loaded: LoadedModel, encoded: Sequence[Encoded], *, layer: int, features: FeatureCache | None = None
) -> float:
    """The median L2 length of a layer's states over all tokens of sequences, pictures left out at layer 0."""
    lengths = list[Tensor]()
    for one in encoded:
        with evaluating(loaded.model), reading({"read": module_of(loaded, layer)}) as read:
            score(loaded, [one], packed=False, features=features)
        states = torch.cat([call.flatten(0, -2) for call in read["read"]]).float().norm(dim=-1).cpu()
        keep = torch.ones(len(states), dtype=torch.bool)
        if layer == 0 and len(states) == len(one):
            keep[torch.from_numpy(one.image_positions)] = False
        lengths.append(states[keep])
    return float(torch.cat(lengths).median())


def pixel_slopes(loaded: LoadedModel, encoded: Encoded) -> list[Tensor]:
    """Gradients [height, width, 3] of an answer's mean log-prob by the grey levels of each of its pictures, as the
    model sees them. Raises UserError as `sight_of` does.
    """
    pictures = dict(zip(encoded.image_keys, encoded.images, strict=True))
    sights = {key: sight_of(loaded, image) for key, image in pictures.items()}
    weight = next(weight for part in loaded.family.tower_parts(loaded.core) for weight in part.parameters())
    leaves = {
        key: sight.pixels.to(weight.device, weight.dtype).clone().requires_grad_() for key, sight in sights.items()
    }
    with differentiable(loaded):
        given = {
            key: loaded.family.tower_features(
                loaded.core, {**_moved(sight.others, weight), "pixel_values": leaves[key]}
            )
            for key, sight in sights.items()
        }
        mean = _means(score(loaded, [encoded], packed=False, features=GivenFeatures(given)))
        slopes = dict(zip(leaves, torch.autograd.grad(mean.sum(), list(leaves.values())), strict=True))
    return [sights[key].by_level(slopes[key].detach().float().cpu()) for key in encoded.image_keys]


class GivenFeatures(FeatureCache):
    """Tower features that were computed elsewhere, whose gradients go on to where they came from."""

    def __init__(self, known: Mapping[str, Tensor]) -> None:
        super().__init__(0)
        self._known = dict(known)

    def given(self, key: str) -> Tensor | None:
        return self._known.get(key)


def module_of(loaded: LoadedModel, layer: int) -> nn.Module:
    """What puts out a layer's states. Raises UserError for a layer that the model has not."""
    if layer == 0:
        found: nn.Module = loaded.core.get_input_embeddings()
        return found
    layers = decoder_layers(loaded.core)
    if not 0 < layer <= len(layers):
        raise UserError(f"layer {layer} is asked about, and the model has 0, its embeddings, to {len(layers)}")
    return layers[layer - 1]


@contextmanager
def shifted(loaded: LoadedModel, *, layer: int, vector: Tensor) -> Iterator[None]:
    """Inside, `vector` [H] is added to every state of a layer, of tokens that are written, too."""
    with steering({module_of(loaded, layer): lambda states: states + vector.to(states.device, states.dtype)}):
        yield


@contextmanager
def differentiable(loaded: LoadedModel) -> Iterator[None]:
    """Inside, gradients are on in evaluation mode and no weight asks for one."""
    flags = {weight: weight.requires_grad for weight in loaded.model.parameters()}
    try:
        loaded.model.requires_grad_(False)
        with evaluating(loaded.model), torch.enable_grad():
            yield
    finally:
        for weight, flag in flags.items():
            weight.requires_grad_(flag)


def _means(scored: Scored) -> Tensor:
    return scored.token_logprobs.sum(1) / scored.mask.sum(1)


def _moved(tensors: Mapping[str, Tensor], weight: Tensor) -> dict[str, Any]:
    return {
        name: one.to(weight.device, weight.dtype if one.is_floating_point() else None) for name, one in tensors.items()
    }
