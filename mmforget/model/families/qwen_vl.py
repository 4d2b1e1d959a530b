"""Qwen2-VL and Qwen2.5-VL: images keep their shape, and positions count time, height and width (M-RoPE).

The projector is the tower's own merger, which makes one token of `spatial_merge_size` squared neighbouring patches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mmforget.model.families import llava
from mmforget.model.families.base import Ints, Size

if TYPE_CHECKING:
    from PIL.Image import Image

NAME = "qwen_vl"
LANGUAGE_TARGETS: str = llava.LANGUAGE_TARGETS
KEEP_PRECISE: tuple[str, ...] = (".*visual", ".*lm_head", "lm_head")
OWN_FORWARD = False

embed = llava.embed
head = llava.head
hidden = llava.hidden
image_token = llava.image_token
language_parts = llava.language_parts
packs = llava.packs


def check_config(config: Any) -> None:
    """All of them will do."""


def num_image_tokens(config: Any, processor: Any, *, size: Size) -> int:
    rows, columns = _grid(processor, size=size)
    return rows * columns


def _grid(processor: Any, *, size: Size) -> tuple[int, int]:
    """Rows and columns of image tokens. Raises ValueError for an image more than 200 times longer than wide."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    images = processor.image_processor
    cell = images.patch_size * images.merge_size
    limits = {"min_pixels": images.size["shortest_edge"], "max_pixels": images.size["longest_edge"]}
    height, width = smart_resize(size[1], size[0], factor=cell, **limits)
    return height // cell, width // cell


def grid_positions(
    config: Any, processor: Any, *, num_tokens: int, image_at: Sequence[int], sizes: Sequence[Size]
) -> Ints | None:
    """As `get_rope_index` of transformers: an image takes as many positions as its longer side has tokens."""
    if not sizes:
        return None
    positions = np.empty((3, num_tokens), dtype=np.int64)
    token = start = num_before = 0  # the next token, its position, and the image tokens before it
    for size in sizes:
        rows, columns = _grid(processor, size=size)
        begin, end = image_at[num_before], image_at[num_before] + rows * columns
        positions[:, token:begin] = np.arange(start, start + begin - token)
        start += begin - token
        positions[:, begin:end] = np.indices((1, rows, columns)).reshape(3, -1) + start
        start += max(rows, columns)
        token, num_before = end, num_before + rows * columns
    positions[:, token:] = np.arange(start, start + num_tokens - token)
    return positions


def preprocess(processor: Any, image: Image) -> dict[str, Tensor]:
    """`pixel_values` [patches, values of a patch] and `image_grid_thw` [1, 3]."""
    return dict(processor.image_processor([image], return_tensors="pt"))


def tower_parts(model: Any) -> list[nn.Module]:
    return [model.model.visual.patch_embed, model.model.visual.blocks]


def projector(model: Any) -> nn.Module | None:
    found: nn.Module = model.model.visual.merger
    return found


def tower_features(model: Any, pixels: Mapping[str, Tensor]) -> Tensor:
    """[patches, features], neighbours that become one token behind each other."""
    visual, grid = model.model.visual, pixels["image_grid_thw"]
    states: Tensor = visual(pixels["pixel_values"], grid_thw=grid).last_hidden_state
    if not hasattr(visual, "window_size"):
        return states
    from transformers.vision_utils import get_vision_window_index

    merged = visual.spatial_merge_size**2
    # Qwen2.5-VL's tower leaves its patches window by window.
    order, _ = get_vision_window_index(grid, visual.spatial_merge_size, visual.window_size, visual.patch_size)
    groups = states.view(-1, merged, states.shape[-1])
    return groups.index_select(0, order.argsort().to(states.device)).flatten(0, 1)


def project(model: Any, features: Sequence[Tensor], *, sizes: Sequence[Size]) -> list[Tensor]:
    visual = model.model.visual
    merged: Tensor = visual.merger(torch.cat(list(features)))
    return list(torch.split(merged, [len(one) // visual.spatial_merge_size**2 for one in features]))
