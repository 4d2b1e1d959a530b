"""Text-only causal language models: Llama and every other that `AutoModelForCausalLM` loads.

Families in `CHECKED` have been compared with their plain forward: hidden states times head, and packed rows, are exact.
All others run their own forward, one sequence a row, since they may scale logits or window their attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from mmforget.model import attention
from mmforget.model.families.base import Tokens

if TYPE_CHECKING:
    from PIL.Image import Image

NAME = "text"
LANGUAGE_TARGETS = r".*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
KEEP_PRECISE: tuple[str, ...] = (".*lm_head", "lm_head")
CHECKED = frozenset({"llama", "mistral", "qwen2", "gpt_neox", "phi"})
SHIFTING_ROPE = frozenset({"dynamic", "longrope"})
"""Rotary embeddings whose frequencies depend on the longest position of a batch."""


def check_config(config: Any) -> None:
    """Any causal language model will do."""


def image_token(config: Any) -> int | None:
    return None


def num_image_tokens(config: Any, *, size: tuple[int, int]) -> int:
    return 0


def preprocess(processor: Any, images: Sequence[Image]) -> Tensor:
    raise TypeError("a text-only model has no image processor")


def tower(model: Any) -> nn.Module | None:
    return None


def projector(model: Any) -> nn.Module | None:
    return None


def language_parts(model: Any) -> list[nn.Module]:
    return [model]


def tower_features(model: Any, pixels: Tensor) -> Tensor:
    raise TypeError("a text-only model has no vision tower")


def project(model: Any, features: Tensor) -> Tensor:
    raise TypeError("a text-only model has no projector")


def packs(config: Any) -> bool:
    rope = getattr(config, "rope_parameters", None) or {}
    windowed = getattr(config, "sliding_window", None) is not None and getattr(config, "use_sliding_window", True)
    return (
        config.model_type in CHECKED
        and config._attn_implementation == attention.NAME
        and rope.get("rope_type") not in SHIFTING_ROPE
        and not windowed
    )


def embed(model: Any, tokens: Tokens) -> Tensor | None:
    return None


def seen(tokens: Tokens) -> dict[str, Any]:
    """What attention layers are told about rows that share tokens."""
    return {} if tokens.rows is None else {"rows": tokens.rows}


def hidden(model: Any, tokens: Tokens) -> Tensor:
    inputs = {"input_ids": tokens.ids, "attention_mask": tokens.attention, "use_cache": False, **seen(tokens)}
    if model.config.model_type in CHECKED:
        states: Tensor = model.base_model(**inputs, position_ids=tokens.positions).last_hidden_state
        return states
    # Rows are padded on the right, so that every causal model counts positions from 0 by itself.
    logits: Tensor = model(**inputs).logits
    return logits


def head(model: Any, hidden: Tensor) -> Tensor:
    if model.config.model_type not in CHECKED:
        return hidden
    logits: Tensor = model.get_output_embeddings()(hidden)
    return logits
