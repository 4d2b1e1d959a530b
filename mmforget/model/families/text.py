"""Text-only causal language models whose logits are their last hidden states times their head.

Those in `language.KNOWN` are; any other that `AutoModelForCausalLM` loads may be, which `selfcheck.py` finds out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from mmforget.model.families import language
from mmforget.model.families.base import Ints, Size, Tokens

if TYPE_CHECKING:
    from PIL.Image import Image

NAME = "text"
LANGUAGE_TARGETS = rf".*\.{language.PROJECTIONS}"
KEEP_PRECISE: tuple[str, ...] = (".*lm_head", "lm_head", ".*embed_out", "embed_out")
OWN_FORWARD = False


def check_config(config: Any) -> None:
    """Any causal language model will do."""


def image_token(config: Any) -> int | None:
    return None


def num_image_tokens(config: Any, processor: Any, *, size: Size) -> int:
    return 0


def grid_positions(
    config: Any, processor: Any, *, num_tokens: int, image_at: Sequence[int], sizes: Sequence[Size]
) -> Ints | None:
    return None


def preprocess(processor: Any, image: Image) -> dict[str, Tensor]:
    raise TypeError("a text-only model has no image processor")


def tower_parts(model: Any) -> list[nn.Module]:
    return []


def projector(model: Any) -> nn.Module | None:
    return None


def language_parts(model: Any) -> list[nn.Module]:
    return [model]


def tower_features(model: Any, pixels: Mapping[str, Tensor]) -> Tensor:
    raise TypeError("a text-only model has no vision tower")


def project(model: Any, features: Sequence[Tensor], *, sizes: Sequence[Size]) -> list[Tensor]:
    raise TypeError("a text-only model has no projector")


def packs(config: Any) -> bool | None:
    return language.packs(config)


def embed(model: Any, tokens: Tokens) -> Tensor | None:
    return None


def hidden(model: Any, tokens: Tokens) -> Tensor:
    return language.last_states(model.base_model, tokens, input_ids=tokens.ids)


def head(model: Any, hidden: Tensor) -> Tensor:
    logits: Tensor = model.get_output_embeddings()(hidden)
    return logits
