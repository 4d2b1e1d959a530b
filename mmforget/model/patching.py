"""Activation patching: what a model says of an answer where states of another model stand in place of its own.

Shapes: D layers, T tokens of the answer, H hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmforget.model.activations import decoder_layers, steering
from mmforget.model.encode import Encoded
from mmforget.model.loaded import LoadedModel
from mmforget.model.scoring import score
from mmforget.model.vision import FeatureCache


@torch.no_grad()
def patched_logprobs(
    loaded: LoadedModel,
    encoded: Encoded,
    *,
    layers: Sequence[int],
    states: Tensor,
    features: FeatureCache | None = None,
) -> list[float]:
    """The answer's mean log-prob a token, as it is and then for each layer with other states in the place of its own.

    They stand where a token of the answer is predicted; what lies before keeps its own states, and layers above go on
    from there.

    Args:
        layers: numbers of decoder layers, [D].
        states: float32 [D, T, H], what the other model's layers put out at these places.
    """
    modules = decoder_layers(loaded.core)
    places = slice(encoded.num_context - 1, len(encoded) - 1)

    def said(layer: int | None, own: Tensor | None) -> float:
        def put(found: Tensor) -> Tensor:
            changed = found.clone()
            changed[:, places] = own.to(found) if own is not None else found[:, places]
            return changed

        with steering({} if layer is None else {modules[layer]: put}):
            scored = score(loaded, [encoded], packed=False, features=features)
        return float(scored.token_logprobs[scored.mask].double().mean())

    return [said(None, None), *(said(layer, own) for layer, own in zip(layers, states, strict=True))]
