"""Prompts continued by `model.generate` itself: for models that share nothing, and as referee of those that do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmforget.model.choosing import Sampling, StopStrings
from mmforget.model.families import Tokens, other

if TYPE_CHECKING:
    from mmforget.model.encode import Encoded
    from mmforget.model.loaded import LoadedModel

GREEDY: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
"""Unset, since transformers warns where a checkpoint's sampling settings meet greedy search."""


def plain(
    loaded: LoadedModel,
    prompts: Sequence[Encoded],
    *,
    images: Mapping[str, Any],
    sampling: Sampling | None,
    stops: StopStrings,
    max_new_tokens: int,
) -> list[list[int]]:
    """New token ids of each prompt, padded behind the one that ends the text.

    All prompts form one batch, padded on the left, unless the model's own forward reads images: then each is alone.

    Args:
        images: what `image_features` gives for the images of all prompts.
    """
    new: list[list[int]] = []
    for inputs in _inputs(loaded, prompts, images=images):
        num_prompt = inputs["input_ids"].shape[1]
        output = loaded.core.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            **(GREEDY if sampling is None else {"do_sample": True, **sampling._asdict(), "top_k": 0}),
            pad_token_id=loaded.tokenizer.pad_token_id,
            stopping_criteria=[_criterion(stops, num_prompt=num_prompt)] if stops.stops else None,
        )
        new += output[:, num_prompt:].tolist()
    return new


def _criterion(stops: StopStrings, *, num_prompt: int) -> Any:
    def ended(ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        return torch.tensor([stops.ended(one) for one in ids[:, num_prompt:].tolist()], device=ids.device)

    return ended


def _inputs(
    loaded: LoadedModel, prompts: Sequence[Encoded], *, images: Mapping[str, Any]
) -> Iterator[dict[str, Tensor]]:
    """What `generate` takes for each batch."""
    if not loaded.writes_images:
        yield _padded(loaded, prompts, images=images)
        return
    for prompt in prompts:
        pictures = other.pictures(loaded.processor, [images[key] for key in prompt.image_keys])
        yield other.own_inputs(loaded.core, torch.from_numpy(prompt.array).to(loaded.device), pictures)


def _padded(loaded: LoadedModel, prompts: Sequence[Encoded], *, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Ids and mask [B, L]; embeddings [B, L, H] with the images in place where the family merges them itself; positions
    [3, B, L] where they are more than a count.
    """
    device, length = loaded.device, max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), length), int(loaded.tokenizer.pad_token_id))
    mask, positions = torch.zeros_like(ids), torch.zeros(3, *ids.shape, dtype=torch.int64)
    image_at = []
    for row, prompt in enumerate(prompts):
        start = length - len(prompt)
        ids[row, start:] = torch.from_numpy(prompt.array)
        mask[row, start:] = 1
        positions[:, row, start:] = torch.from_numpy(prompt.positions)
        image_at.append(torch.from_numpy(prompt.image_positions) + row * length + start)
    merged = torch.cat([images[key] for prompt in prompts for key in prompt.image_keys]) if images else None
    tokens = Tokens(ids.to(device), ids.to(device), images=merged, image_at=torch.cat(image_at).to(device))
    embedded = loaded.family.embed(loaded.core, tokens)
    inputs = {"input_ids": tokens.ids, "attention_mask": mask.to(device)}
    if embedded is not None:
        inputs["inputs_embeds"] = embedded
    if any(prompt.grid_positions is not None for prompt in prompts):
        inputs["position_ids"] = positions.to(device)
    return inputs
