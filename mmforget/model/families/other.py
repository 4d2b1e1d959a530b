"""Image-text models of any other type: text and images as their processor has them, and their own forward.

One sequence at a time and with the vision tower in every pass, so slow; but right, which `selfcheck.py` makes sure of.
The processor has to write out, as text, what an image becomes (`replace_image_token`, transformers 5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmforget.errors import UserError
from mmforget.model.families.base import Ints, Size, Tokens

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
CHECKED = ("llava", "llava_next", "qwen2_5_vl", "qwen2_vl")
"""Types that have a family of their own."""
TOKEN_TYPES = ("token_type_ids", "mm_token_type_ids")
"""Inputs that say which tokens stand for images."""
_WRITTEN: WeakKeyDictionary[Any, dict[Size, str]] = WeakKeyDictionary()
"""What an image of a size becomes, as each processor writes it."""


def check_config(config: Any) -> None:
    """Raises UserError where a configuration shows that a trial, see `selfcheck.py`, would fail."""
    if config.is_encoder_decoder:
        raise refusal(config, fault="it is an encoder-decoder")
    if image_token(config) is None:
        raise refusal(config, fault="its configuration names no image token")


def refusal(config: Any, *, fault: str) -> UserError:
    """What to say of a model that cannot be used."""
    return UserError(
        f"image-text models of type '{config.model_type}' are not supported: {fault}; supported: {', '.join(CHECKED)}, "
        "text-only causal language models, and image-text models that read from left to right and whose processor says "
        "what an image becomes (replace_image_token of transformers)"
    )


def image_token(config: Any) -> int | None:
    for name in ("image_token_id", "image_token_index"):
        if getattr(config, name, None) is not None:
            return int(getattr(config, name))
    return None


def placeholder(processor: Any) -> str:
    """What stands for an image in a text for this processor."""
    return str(processor.image_token)


def written(processor: Any, *, size: Size) -> str:
    """The text, special tokens and all, that the processor puts in the place of an image of this size."""
    known = _WRITTEN.setdefault(processor, {})
    if size not in known:
        from PIL import Image

        settings = {"return_text_replacement_offsets": True}
        made = processor(text=[placeholder(processor)], images=[Image.new("RGB", size)], **settings)
        ((replaced,),) = made["text_replacement_offsets"]
        known[size] = str(replaced["replacement"])
    return known[size]


def num_image_tokens(config: Any, processor: Any, *, size: Size) -> int:
    token = processor.tokenizer.convert_ids_to_tokens(image_token(config))
    return written(processor, size=size).count(token)


def grid_positions(
    config: Any, processor: Any, *, num_tokens: int, image_at: Sequence[int], sizes: Sequence[Size]
) -> Ints | None:
    return None


def preprocess(processor: Any, image: Image) -> dict[str, Tensor]:
    raise TypeError("images of this family go through the model's own forward")


def pictures(processor: Any, images: Sequence[Image]) -> dict[str, Tensor]:
    """What the model takes for the images of one sequence, besides its token ids, on the CPU."""
    text = placeholder(processor) * len(images)
    made = processor(text=[text or "a"], images=list(images) or None, return_tensors="pt")
    return {name: made[name] for name in made if name not in ("input_ids", "attention_mask")}


def own_inputs(model: Any, ids: Tensor, pictures: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the model's own forward and `generate` take for one sequence, ids [L], on the model's device."""
    found = {"input_ids": ids[None], "attention_mask": torch.ones_like(ids[None])}
    for name, tensor in pictures.items():
        if name in TOKEN_TYPES:
            found[name] = ids.eq(image_token(model.config) or 0).long()[None]
        else:
            found[name] = tensor.to(ids.device, model.dtype if tensor.is_floating_point() else None)
    return found


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
