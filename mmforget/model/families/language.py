"""The language model behind every family: whether its configuration allows shared rows, and how it is run on them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmforget.model import attention
from mmforget.model.families.base import Tokens

KNOWN = frozenset(
    {
        "gpt_neox",
        "llama",
        "mistral",
        "phi",
        "phi3",
        "qwen2",
        "qwen2_5_vl_text",
        "qwen2_vl_text",
        "qwen3",
    }
)
"""Types whose hidden states times head, and whose packed rows, are exact; tests compare each with its plain forward."""
PROJECTIONS = (
    "(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj"  # Llama, Mistral, Qwen
    "|qkv_proj|gate_up_proj"  # Phi-3
    "|query_key_value|dense|dense_h_to_4h|dense_4h_to_h"  # GPT-NeoX
    "|fc1|fc2)"  # Phi
)
"""Names of the attention and feed-forward layers of all KNOWN types, as a regular expression."""
SHIFTING_ROPE = frozenset({"dynamic", "longrope"})
"""Rotary embeddings whose frequencies depend on the longest position of a batch."""
SHARING = frozenset({"sdpa", attention.NAME})
"""Attention that can be told about shared rows, before and after `attention.use_shared_prefixes`."""


def packs(config: Any) -> bool | None:
    """`Family.packs` for a language model's configuration: None for a type that has not been compared."""
    if obstacle(config) is not None:
        return False
    return True if config.model_type in KNOWN else None


def obstacle(config: Any) -> str | None:
    """Why sequences in shared rows would give other numbers, as far as a configuration says so; None if it does not."""
    if config._attn_implementation not in SHARING:
        return f"it attends by {config._attn_implementation}"
    window = _window(config)
    if window is not None:
        return f"its layers see the last {window} tokens only"
    other = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    if other:
        return f"it has layers of {', '.join(sorted(other))}"
    shifting = _rope_types(config) & SHIFTING_ROPE
    if shifting:
        return f"its {', '.join(sorted(shifting))} rotary embedding depends on the longest sequence of a batch"
    return None


def _window(config: Any) -> int | None:
    """How far back a layer sees, in tokens; None where that is everything the model was made for."""
    window = getattr(config, "sliding_window", None)
    longest = getattr(config, "max_position_embeddings", None)
    if not window or not getattr(config, "use_sliding_window", True) or (longest and window >= longest):
        return None
    return int(window)


def _rope_types(config: Any) -> set[str]:
    """The types of rotary embeddings, of which some models have one for each type of layer."""
    rope = getattr(config, "rope_parameters", None) or {}
    parts = [part for part in rope.values() if isinstance(part, dict)] or [rope]
    return {str(part.get("rope_type")) for part in parts}


def shared(tokens: Tokens) -> dict[str, Any]:
    """What a language model is told about rows that share tokens, or about padding.

    Rows say themselves who sees whom. The mask of one element is ignored; without it transformers would build one of
    L x L for positions that start over.
    """
    if tokens.rows is None:
        return {"attention_mask": tokens.attention}
    nothing = torch.ones((1, 1, 1, 1), dtype=torch.bool, device=tokens.ids.device)
    return {"attention_mask": nothing, "rows": tokens.rows}


def last_states(language_model: Any, tokens: Tokens, **inputs: Tensor) -> Tensor:
    """Hidden states [R, L, H] behind the last layer, from `input_ids` or `inputs_embeds`."""
    output = language_model(**inputs, **shared(tokens), position_ids=tokens.positions, use_cache=False)
    states: Tensor = output.last_hidden_state
    return states


def with_images(embedded: Tensor, tokens: Tokens) -> Tensor:
    """Input embeddings [R, L, H] with the projected image features in the places of the image tokens."""
    if tokens.images is None or tokens.image_at is None:
        return embedded
    images = tokens.images.to(embedded.device, embedded.dtype)
    return embedded.flatten(0, 1).index_copy(0, tokens.image_at, images).view_as(embedded)
