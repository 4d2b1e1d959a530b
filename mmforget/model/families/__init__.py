"""Architectures that mmforget knows, each in one module with the functions of `families.base.Family`."""

from __future__ import annotations

from typing import Any

from mmforget.errors import UserError
from mmforget.model.families import llava, text
from mmforget.model.families.base import Family, Tokens

__all__ = ["Family", "Tokens", "find_family", "is_image_text"]

IMAGE_FAMILIES: dict[str, Family] = {"llava": llava}


def is_image_text(config: Any) -> bool:
    """Whether `AutoModelForImageTextToText` is the class to load this configuration with."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    )

    kind = config.model_type
    if kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return True
    if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {}):
        return False
    raise UserError(f"model type '{kind}' is neither a causal language model nor an image-text model; use one of those")


def find_family(config: Any) -> Family:
    """The family of a configuration. Raises UserError where mmforget does not know the architecture."""
    if not is_image_text(config):
        return text
    family = IMAGE_FAMILIES.get(config.model_type)
    if family is None:
        known = ", ".join(sorted(IMAGE_FAMILIES))
        raise UserError(
            f"image-text models of type '{config.model_type}' are not supported; "
            f"supported: {known}, and text-only causal language models"
        )
    family.check_config(config)
    return family
