"""Text-only causal language models that scale or cap their logits, or that nobody has compared: their own forward.

Whether their rows can share tokens is for `selfcheck.py` to find out; custom code (`trust_remote_code`) lands here too.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mmforget.model.families import language, text
from mmforget.model.families.base import Tokens

NAME = "other_text"
LANGUAGE_TARGETS = r"(?!)"
KEEP_PRECISE: tuple[str, ...] = (".*lm_head", "lm_head", ".*embed_out", "embed_out")
OWN_FORWARD = True

check_config = text.check_config
embed = text.embed
grid_positions = text.grid_positions
image_token = text.image_token
language_parts = text.language_parts
num_image_tokens = text.num_image_tokens
preprocess = text.preprocess
project = text.project
projector = text.projector
tower_features = text.tower_features
tower_parts = text.tower_parts


def packs(config: Any) -> bool | None:
    return False if language.obstacle(config) is not None else None


def hidden(model: Any, tokens: Tokens) -> Tensor:
    # Rows that share nothing are padded on the right, so that every causal model counts positions from 0 by itself.
    positions = {} if tokens.rows is None else {"position_ids": tokens.positions}
    logits: Tensor = model(input_ids=tokens.ids, **language.shared(tokens), **positions, use_cache=False).logits
    return logits


def head(model: Any, hidden: Tensor) -> Tensor:
    return hidden
