"""LLaVA-1.5 and its kin: CLIP or SigLIP tower, two-layer projector, any causal language model behind it.

One image is always the same number of tokens, since the processor crops every image to the tower's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmforget.errors import UserError
from mmforget.model.families.base import Tokens
from mmforget.model.families.text import packs as language_model_packs
from mmforget.model.families.text import seen

if TYPE_CHECKING:
    from PIL.Image import Image

NAME = "llava"
LANGUAGE_TARGETS = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
KEEP_PRECISE: tuple[str, ...] = (".*vision_tower", ".*multi_modal_projector", ".*lm_head", "lm_head")
TOWERS = {"clip_vision_model": 1, "siglip_vision_model": 0}
"""Class tokens in front of the patches, by type of vision tower."""


def check_config(config: Any) -> None:
    """Raises UserError for a vision tower whose token count is not known."""
    kind = config.vision_config.model_type
    if kind not in TOWERS:
        raise UserError(f"LLaVA with a vision tower of type '{kind}' is not supported; supported: {', '.join(TOWERS)}")


def image_token(config: Any) -> int | None:
    return int(config.image_token_id)


def num_image_tokens(config: Any, *, size: tuple[int, int]) -> int:
    vision = config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2
    if config.vision_feature_select_strategy == "default":
        return int(patches + TOWERS[vision.model_type] - 1)
    return int(patches + TOWERS[vision.model_type])


def preprocess(processor: Any, images: Sequence[Image]) -> Tensor:
    pixels: Tensor = processor.image_processor(list(images), return_tensors="pt")["pixel_values"]
    return pixels


def tower(model: Any) -> nn.Module | None:
    found: nn.Module = model.model.vision_tower
    return found


def projector(model: Any) -> nn.Module | None:
    found: nn.Module = model.model.multi_modal_projector
    return found


def language_parts(model: Any) -> list[nn.Module]:
    return [model.model.language_model, model.lm_head]


def tower_features(model: Any, pixels: Tensor) -> Tensor:
    config = model.config
    layers, drop_class = config.vision_feature_layer, config.vision_feature_select_strategy == "default"
    states = model.model.vision_tower(pixels, output_hidden_states=True, return_dict=True).hidden_states
    chosen = [states[layer] for layer in ([layers] if isinstance(layers, int) else layers)]
    return torch.cat([state[:, 1:] if drop_class else state for state in chosen], dim=-1)


def project(model: Any, features: Tensor) -> Tensor:
    projected: Tensor = model.model.multi_modal_projector(features)
    return projected


def packs(config: Any) -> bool:
    return language_model_packs(config.get_text_config())


def embed(model: Any, tokens: Tokens) -> Tensor | None:
    embedded: Tensor = model.get_input_embeddings()(tokens.ids)
    if tokens.images is None or tokens.image_at is None:
        return embedded
    images = tokens.images.to(embedded.device, embedded.dtype)
    return embedded.flatten(0, 1).index_copy(0, tokens.image_at, images).view_as(embedded)


def hidden(model: Any, tokens: Tokens) -> Tensor:
    output = model.model.language_model(
        inputs_embeds=embed(model, tokens),
        attention_mask=tokens.attention,
        position_ids=tokens.positions,
        use_cache=False,
        **seen(tokens),
    )
    states: Tensor = output.last_hidden_state
    return states


def head(model: Any, hidden: Tensor) -> Tensor:
    logits: Tensor = model.lm_head(hidden)
    return logits
