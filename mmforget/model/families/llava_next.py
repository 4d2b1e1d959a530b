"""LLaVA-NeXT (1.6): the whole image and several crops of it, trimmed to its shape, with a token behind every line.

The number of tokens depends on the image's size. All but the cutting up is LLaVA-1.5's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.model.families import llava
from mmforget.model.families.base import Size
from mmforget.model.families.llava import TOWERS, selected_features

if TYPE_CHECKING:
    from PIL.Image import Image

NAME = "llava_next"
LANGUAGE_TARGETS: str = llava.LANGUAGE_TARGETS
KEEP_PRECISE: tuple[str, ...] = llava.KEEP_PRECISE
OWN_FORWARD = False

embed = llava.embed
grid_positions = llava.grid_positions
head = llava.head
hidden = llava.hidden
image_token = llava.image_token
language_parts = llava.language_parts
packs = llava.packs
projector = llava.projector
tower_parts = llava.tower_parts


def check_config(config: Any) -> None:
    """Raises UserError for a vision tower that is not known, or whose features are more than the image's patches."""
    llava.check_config(config)
    kind, strategy = config.vision_config.model_type, config.vision_feature_select_strategy
    if TOWERS[kind] != (strategy == "default"):
        raise UserError(
            f"LLaVA-NeXT with a tower of type '{kind}' and vision_feature_select_strategy='{strategy}' is not "
            f"supported; use '{'default' if TOWERS[kind] else 'full'}'"
        )


def num_image_tokens(config: Any, processor: Any, *, size: Size) -> int:
    side = config.vision_config.image_size // config.vision_config.patch_size
    rows, columns = _trimmed(config, size=size, side=side)
    return int(side**2 + rows * (columns + 1))


def _trimmed(config: Any, *, size: Size, side: int) -> tuple[int, int]:
    """Rows and columns of features that the crops have once the padding around the image is cut off.

    As `unpad_image` of transformers has it, whose rounding is kept.
    """
    from transformers.image_processing_utils import select_best_resolution

    width, height = size
    best = select_best_resolution((height, width), config.image_grid_pinpoints)
    rows, columns = (side * (length // config.vision_config.image_size) for length in best)
    if width / height > columns / rows:
        rows -= 2 * ((rows - int(round(height * (columns / width), 7))) // 2)
    else:
        columns -= 2 * ((columns - int(round(width * (rows / height), 7))) // 2)
    return rows, columns


def preprocess(processor: Any, image: Image) -> dict[str, Tensor]:
    """`pixel_values` [1, crops, 3, side, side]: the whole image first."""
    return {"pixel_values": processor.image_processor([image], return_tensors="pt")["pixel_values"]}


def tower_features(model: Any, pixels: Mapping[str, Tensor]) -> Tensor:
    """[crops, tokens, features]."""
    return selected_features(model, pixels["pixel_values"][0])


def project(model: Any, features: Sequence[Tensor], *, sizes: Sequence[Size]) -> list[Tensor]:
    """The projector looks at one token at a time; the model itself then puts crops together and marks line ends."""
    projected: Tensor = model.model.multi_modal_projector(torch.cat(list(features)))
    heights_first = torch.tensor([(height, width) for width, height in sizes])
    packed, _ = model.pack_image_features(
        list(torch.split(projected, [len(one) for one in features])),
        heights_first,
        vision_feature_select_strategy=model.config.vision_feature_select_strategy,
        image_newline=model.model.image_newline,
    )
    return list(packed)
