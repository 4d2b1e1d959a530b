"""Architectures that mmforget knows, each in one module with the functions of `families.base.Family`."""

from __future__ import annotations

from typing import Any

from mmforget.errors import UserError
from mmforget.model.families import language, llava, llava_next, other, other_text, qwen_vl, text
from mmforget.model.families.base import Family, Tokens

__all__ = ["IMAGE_FAMILIES", "Family", "Tokens", "find_family", "is_image_text"]

IMAGE_FAMILIES: dict[str, Family] = {
    "llava": llava,
    "llava_next": llava_next,
    "qwen2_5_vl": qwen_vl,
    "qwen2_vl": qwen_vl,
}


def is_image_text(config: Any) -> bool:
    """Whether `AutoModelForImageTextToText` is the class to load this configuration with."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    )

    kind, custom = config.model_type, getattr(config, "auto_map", None) or {}
    if kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES or "AutoModelForImageTextToText" in custom:
        return True
    if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or "AutoModelForCausalLM" in custom:
        return False
    raise UserError(f"model type '{kind}' is neither a causal language model nor an image-text model; use one of those")


def find_family(config: Any, *, custom_code: bool = False) -> Family:
    """The family of a configuration; `text` and the image families are exact, `other` and `other_text` need a check.

    Args:
        custom_code: whether code that comes with the weights may run; then no name of a type says anything.

    Raises:
        UserError: a configuration that its family does not support.
    """
    is_custom = custom_code and bool(getattr(config, "auto_map", None))
    if not is_image_text(config):
        return text if config.model_type in language.KNOWN and not is_custom else other_text
    family = other if is_custom else IMAGE_FAMILIES.get(config.model_type, other)
    family.check_config(config)
    return family
