"""Image-text models of any other type: text and images as their processor has them, and their own forward.

One sequence at a time and with the vision tower in every pass, so slow; but right, which `selfcheck.py` makes sure of.
The processor has to write out, as text, what an image becomes (`replace_image_token`, transformers 5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmforget.model.families import written_images
from mmforget.model.families.base import Ints, Size, Tokens
from mmforget.model.families.written_images import own_inputs, refusal, written

if TYPE_CHECKING:
    from PIL.Image import Image

NAME = "other"
LANGUAGE_TARGETS = r"(?!)"
KEEP_PRECISE: tuple[str, ...] = (
    ".*vision[^.]*",
    ".*visual[^.]*",
    ".*image[^.]*",
    ".*projector[^.]*",
    ".*connector[^.]*",
    ".*lm_head",
    "lm_head",
)
OWN_FORWARD = True

image_token = written_images.image_token


def check_config(config: Any) -> None:
    """Raises UserError where a configuration shows that a trial, see `selfcheck.py`, would fail."""
    if config.is_encoder_decoder:
        raise refusal(config, fault="it is an encoder-decoder")
    if image_token(config) is None:
        raise refusal(config, fault="its configuration names no image token")


def num_image_tokens(config: Any, processor: Any, *, size: Size) -> int:
    token = processor.tokenizer.convert_ids_to_tokens(image_token(config))
    return written(processor, size=size).count(token)


def grid_positions(
    config: Any, processor: Any, *, num_tokens: int, image_at: Sequence[int], sizes: Sequence[Size]
) -> Ints | None:
    return None


def preprocess(processor: Any, image: Image) -> dict[str, Tensor]:
    raise TypeError("images of this family go through the model's own forward")


def tower_parts(model: Any) -> list[nn.Module]:
    return [model.get_encoder(modality="image")]


def projector(model: Any) -> nn.Module | None:
    return None


def language_parts(model: Any) -> list[nn.Module]:
    return [model.get_decoder(), model.get_output_embeddings()]


def tower_features(model: Any, pixels: Mapping[str, Tensor]) -> Tensor:
    raise TypeError("images of this family go through the model's own forward")


def project(model: Any, features: Sequence[Tensor], *, sizes: Sequence[Size]) -> list[Tensor]:
    raise TypeError("images of this family go through the model's own forward")


def packs(config: Any) -> bool | None:
    return False


def embed(model: Any, tokens: Tokens) -> Tensor | None:
    return None


def hidden(model: Any, tokens: Tokens) -> Tensor:
    """Logits [R, L, V]. Raises TypeError for rows that share tokens."""
    if tokens.rows is not None or tokens.pictures is None:
        raise TypeError("models of this family take one sequence at a time")
    width = tokens.ids.shape[1]
    lengths = [width] * len(tokens.ids) if tokens.attention is None else tokens.attention.sum(1).tolist()
    found = []
    for ids, length, images in zip(tokens.ids, lengths, tokens.pictures, strict=True):
        logits = model(**own_inputs(model, ids[:length], images), use_cache=False).logits[0]
        found.append(functional.pad(logits, (0, 0, 0, width - length)))
    return torch.stack(found)


def head(model: Any, hidden: Tensor) -> Tensor:
    return hidden
