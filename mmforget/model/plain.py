"""Prompts continued by `model.generate` itself: for models that share nothing, and as referee of those that do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import LogitsProcessorList

from mmforget.model.avoiding import avoiding, held_down
from mmforget.model.choosing import Choice, Sampling, StopStrings, end_tokens
from mmforget.model.families import Tokens, written_images
from mmforget.model.lora import adapters_off
from mmforget.model.shallow import layers_of, shallow
from mmforget.model.stack import by_row, selecting

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
    drawn: Tensor | None = None,
    before: Mapping[str, Any] | None = None,
) -> list[list[int]]:
    """New token ids of each prompt, the one that ends the text included.

    All prompts form one batch, padded on the left, unless padding changes what the model writes, or its own forward
    reads images: then each is alone.

    Args:
        images: what `image_features` gives for the images of all prompts.
        drawn: [B, T] numbers that each prompt brings for its tokens, see `Choice.next_tokens`.
        before: the images without the model's adapter, where logits are mixed. Those without it are then computed of
            whole sequences at every token, which is slow.
    """
    new: list[list[int]] = []
    ends = end_tokens(loaded.core.generation_config, tokenizer=loaded.tokenizer)
    for part, inputs in _inputs(loaded, prompts, images=images):
        num_prompt = inputs["input_ids"].shape[1]
        leads = [prompt.lead for prompt in part]
        own = None if drawn is None else drawn[len(new) : len(new) + len(part)]
        mixing = [] if before is None else [_mixing(loaded, part, images=before, num_prompt=num_prompt)]
        mixing += _avoiding(loaded, part, num_prompt=num_prompt)
        with selecting(loaded, by_row([prompt.edit for prompt in part])), shallow(loaded):
            output = loaded.core.generate(
                **inputs,
                max_new_tokens=max_new_tokens,
                **_chosen(sampling, drawn=own, num_prompt=num_prompt, first=mixing),
                pad_token_id=loaded.tokenizer.pad_token_id,
                eos_token_id=sorted(ends) or None,
                stopping_criteria=[_criterion(stops, num_prompt=num_prompt, leads=leads)] if stops.stops else None,
            )
        new += [_until_end(ids, ends=ends) for ids in output[:, num_prompt:].tolist()]
    return new


def _chosen(
    sampling: Sampling | None, *, drawn: Tensor | None, num_prompt: int, first: Sequence[Any]
) -> dict[str, Any]:
    """How `generate` chooses tokens, behind the processors `first`. Numbers that prompts bring choose them before it,
    which then has no choice.
    """
    processors = list(first)
    settings = (
        GREEDY if sampling is None or drawn is not None else {"do_sample": True, **sampling._asdict(), "top_k": 0}
    )
    if sampling is not None and drawn is not None:
        choice = Choice(sampling, penalty=1, ends=frozenset())

        def only(ids: Tensor, scores: Tensor) -> Tensor:
            tokens = choice.next_tokens(scores, known=ids, drawn=drawn[:, ids.shape[1] - num_prompt])
            return torch.full_like(scores, -torch.inf).scatter_(1, tokens[:, None], 0.0)

        processors.append(only)
    return {**settings, **({"logits_processor": LogitsProcessorList(processors)} if processors else {})}


def _mixing(
    loaded: LoadedModel, prompts: Sequence[Encoded], *, images: Mapping[str, Any], num_prompt: int
) -> Callable[[Tensor, Tensor], Tensor]:
    """What makes logits [B, V] with the adapter, behind ids [B, L], into those that count."""
    whole = nullcontext if loaded.first_layers is None else layers_of(loaded).whole

    def mixed(ids: Tensor, scores: Tensor) -> Tensor:
        pairs = zip(prompts, ids[:, num_prompt:].tolist(), strict=True)
        with whole(), adapters_off(loaded):
            ((_, inputs),) = _inputs(loaded, [prompt.followed_by(new) for prompt, new in pairs], images=images)
            if "inputs_embeds" in inputs:
                del inputs["input_ids"]
            before = loaded.core(**inputs).logits[:, -1]
        return scores if loaded.choose is None else loaded.choose(before.float().to(scores.device), scores)

    return mixed


def _avoiding(
    loaded: LoadedModel, prompts: Sequence[Encoded], *, num_prompt: int
) -> list[Callable[[Tensor, Tensor], Tensor]]:
    """What holds words down in logits [B, V] behind ids [B, L]; nothing where no prompt avoids any."""
    own = avoiding(loaded, prompts)
    if not any(own):
        return []
    return [lambda ids, scores: held_down(scores, own, ids[:, num_prompt:].tolist())]


def _until_end(ids: list[int], *, ends: frozenset[int]) -> list[int]:
    """Without the padding behind the token that ends a text, which need not be a special one."""
    end = next((at for at, token in enumerate(ids) if token in ends), len(ids))
    return ids[: end + 1]


def _criterion(stops: StopStrings, *, num_prompt: int, leads: Sequence[str]) -> Any:
    def ended(ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        new = zip(ids[:, num_prompt:].tolist(), leads, strict=True)
        return torch.tensor([stops.ended(one, lead=lead) for one, lead in new], device=ids.device)

    return ended


def _inputs(
    loaded: LoadedModel, prompts: Sequence[Encoded], *, images: Mapping[str, Any]
) -> Iterator[tuple[Sequence[Encoded], dict[str, Tensor]]]:
    """The prompts of each batch, and what `generate` takes for them."""
    if not loaded.writes_images:
        for part in [prompts] if loaded.pads else [[prompt] for prompt in prompts]:
            yield part, padded(loaded, part, images=images)
        return
    for prompt in prompts:
        pictures = written_images.pictures(loaded.processor, [images[key] for key in prompt.image_keys])
        ids = torch.from_numpy(prompt.array).to(loaded.device)
        yield [prompt], written_images.own_inputs(loaded.core, ids, pictures)


def padded(loaded: LoadedModel, prompts: Sequence[Encoded], *, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
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
