"""What a forward pass takes: the tensors of a layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmforget.model.attention import tree_rows
from mmforget.model.families import Tokens
from mmforget.model.vision import image_inputs

if TYPE_CHECKING:
    from mmforget.model.loaded import LoadedModel
    from mmforget.model.packing import Layout


def batch_tokens(loaded: LoadedModel, layout: Layout, *, images: dict[str, Tensor] | None) -> Tokens:
    """What a family's forward pass takes, from a layout and the projected features of its images.

    Args:
        images: by key; None where the pass begins above the place where images go in.
    """
    device = loaded.device
    positions = torch.from_numpy(layout.positions).to(device)
    weight: Tensor = loaded.core.get_input_embeddings().weight
    return Tokens(
        ids=torch.from_numpy(layout.ids).to(device),
        positions=positions[0] if len(positions) == 1 else positions,
        attention=None if layout.is_token.all() else torch.from_numpy(layout.is_token).to(device),
        rows=tree_rows(layout, device=device, dtype=weight.dtype) if layout.is_flat else None,
        **({} if images is None else image_inputs(loaded, layout, images=images)),
    )
