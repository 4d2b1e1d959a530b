"""LLaVA-1.5 and its kin: CLIP or SigLIP tower, two-layer projector, any causal language model behind it.

One image is always the same number of tokens, since the processor crops every image to the tower's size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmforget.errors import UserError
from mmforget.model.families import language
from mmforget.model.families.base import Ints, Size, Tokens

if TYPE_CHECKING:
    from PIL.Image import Image

NAME = "llava"
LANGUAGE_TARGETS = rf".*language_model.*\.{language.PROJECTIONS}"
KEEP_PRECISE: tuple[str, ...] = (".*vision_tower", ".*multi_modal_projector", ".*lm_head", "lm_head")
OWN_FORWARD = False
TOWERS = {"clip_vision_model": 1, "siglip_vision_model": 0}
"""Class tokens in front of the patches, by type of vision tower."""


def check_config(config: Any) -> None:
    """Raises UserError for a vision tower whose token count is not known."""
    kind = config.vision_config.model_type
    if kind not in TOWERS:
        raise UserError(f"LLaVA with a vision tower of type '{kind}' is not supported; supported: {', '.join(TOWERS)}")


def image_token(config: Any) -> int | None:
    return int(config.image_token_id)


def num_image_tokens(config: Any, processor: Any, *, size: Size) -> int:
    vision = config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2
    if config.vision_feature_select_strategy == "default":
        return int(patches + TOWERS[vision.model_type] - 1)
    return int(patches + TOWERS[vision.model_type])


def grid_positions(
    config: Any, processor: Any, *, num_tokens: int, image_at: Sequence[int], sizes: Sequence[Size]
) -> Ints | None:
    return None


def preprocess(processor: Any, image: Image) -> dict[str, Tensor]:
    return {"pixel_values": processor.image_processor([image], return_tensors="pt")["pixel_values"]}


def tower_parts(model: Any) -> list[nn.Module]:
    return [model.model.vision_tower]


def projector(model: Any) -> nn.Module | None:
    found: nn.Module = model.model.multi_modal_projector
    return found


def language_parts(model: Any) -> list[nn.Module]:
    return [model.model.language_model, model.lm_head]


def tower_features(model: Any, pixels: Mapping[str, Tensor]) -> Tensor:
    """[I, features]."""
    return selected_features(model, pixels["pixel_values"])[0]


def selected_features(model: Any, pixel_values: Tensor) -> Tensor:
    """Features [N, tokens, features] of N pictures of the tower's size, of the layers that the model reads."""
    config = model.config
    layers, drop_class = config.vision_feature_layer, config.vision_feature_select_strategy == "default"
    states = model.model.vision_tower(pixel_values, output_hidden_states=True, return_dict=True).hidden_states
    chosen = [states[layer] for layer in ([layers] if isinstance(layers, int) else layers)]
    return torch.cat([state[:, 1:] if drop_class else state for state in chosen], dim=-1)


def project(model: Any, features: Sequence[Tensor], *, sizes: Sequence[Size]) -> list[Tensor]:
    # The projector looks at one token at a time.
    projected: Tensor = model.model.multi_modal_projector(torch.cat(list(features)))
    return list(torch.split(projected, [len(one) for one in features]))


def packs(config: Any) -> bool | None:
    return language.packs(config.get_text_config())


def embed(model: Any, tokens: Tokens) -> Tensor | None:
    return language.with_images(model.get_input_embeddings()(tokens.ids), tokens)


def hidden(model: Any, tokens: Tokens) -> Tensor:
    embedded = language.with_images(model.get_input_embeddings()(tokens.ids), tokens)
    return language.last_states(model.model.language_model, tokens, inputs_embeds=embedded)


def head(model: Any, hidden: Tensor) -> Tensor:
    logits: Tensor = model.lm_head(hidden)
    return logits
