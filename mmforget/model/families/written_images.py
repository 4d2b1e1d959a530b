"""Images as a processor writes them into a text, for models whose own forward reads them; see `other.py`.

The one seam between such models and everything else, which asks `LoadedModel.writes_images` and calls these functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.model.families.base import Size

if TYPE_CHECKING:
    from PIL.Image import Image

CHECKED = ("llava", "llava_next", "qwen2_5_vl", "qwen2_vl")
"""Types that have a family of their own."""
TOKEN_TYPES = ("token_type_ids", "mm_token_type_ids")
"""Inputs that say which tokens stand for images."""
_WRITTEN: WeakKeyDictionary[Any, dict[Size, str]] = WeakKeyDictionary()
"""What an image of a size becomes, as each processor writes it."""


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
