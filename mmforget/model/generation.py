"""Text from prompts: what `model.generate` gives, with every image encoded once and stop strings cut off.

texts = generate(loaded, [encode_prompt(loaded, "<image>\\nwho is this?", [picture])], max_new_tokens=50)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.model.families import Tokens
from mmforget.model.vision import FeatureCache, image_features

if TYPE_CHECKING:
    from mmforget.model.encode import Encoded
    from mmforget.model.loaded import LoadedModel


def generate(
    loaded: LoadedModel,
    prompts: Sequence[Encoded],
    *,
    max_new_tokens: int,
    until: Sequence[str] = (),
    do_sample: bool = False,
    temperature: float = 1.0,
    top_p: float = 1.0,
    features: FeatureCache | None = None,
) -> list[str]:
    """The continuation of each prompt, without special tokens, cut before the first of the `until` strings.

    All prompts form one batch, padded on the left. Greedy text equals that of plain `model.generate`. Sampling draws
    from torch's global generator.

    Raises:
        UserError: a prompt that leaves no room for `max_new_tokens`, or sampling settings out of range.
    """
    if not prompts:
        return []
    _check(loaded, prompts, max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p)
    stops = tuple(stop for stop in until if stop)
    inputs = _inputs(loaded, prompts, features=features)
    criteria = _StopStrings(loaded.tokenizer, num_prompt=inputs["input_ids"].shape[1], stops=stops)
    sampling = {"temperature": temperature, "top_p": top_p, "top_k": 0} if do_sample else GREEDY
    with torch.no_grad():
        output = loaded.core.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            do_sample=do_sample,
            **sampling,
            pad_token_id=loaded.tokenizer.pad_token_id,
            stopping_criteria=[criteria] if stops else None,
        )
    new = output[:, inputs["input_ids"].shape[1] :].tolist()
    texts = [loaded.tokenizer.decode(ids, skip_special_tokens=True) for ids in new]
    return [_cut(text, stops) for text in texts]


GREEDY: dict[str, Any] = {"temperature": None, "top_p": None, "top_k": None}
"""Unset, since transformers warns where a checkpoint's sampling settings meet greedy search."""


def _check(
    loaded: LoadedModel, prompts: Sequence[Encoded], *, max_new_tokens: int, temperature: float, top_p: float
) -> None:
    if max_new_tokens < 1:
        raise UserError(f"max_new_tokens={max_new_tokens} must be at least 1")
    if not temperature > 0:
        raise UserError(f"temperature={temperature} must be above 0; for greedy text leave do_sample out")
    if not 0 < top_p <= 1:
        raise UserError(f"top_p={top_p} must be in (0, 1]")
    longest = max(len(prompt) for prompt in prompts)
    if longest + max_new_tokens > loaded.max_length:
        raise UserError(
            f"a prompt of {longest} tokens and {max_new_tokens} new ones exceed the {loaded.max_length} tokens that "
            f"{loaded.spec.pretrained} takes; lower max_gen_toks or shorten the prompt"
        )


def _inputs(loaded: LoadedModel, prompts: Sequence[Encoded], *, features: FeatureCache | None) -> dict[str, Tensor]:
    """Ids and mask [B, L], and embeddings [B, L, H] with the images in place where the family merges them itself."""
    device, length = loaded.device, max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), length), int(loaded.tokenizer.pad_token_id))
    mask = torch.zeros_like(ids)
    image_at = []
    for row, prompt in enumerate(prompts):
        start = length - len(prompt)
        ids[row, start:] = torch.from_numpy(prompt.array)
        mask[row, start:] = 1
        image_at.append(torch.from_numpy(prompt.image_positions) + row * length + start)
    with torch.no_grad():
        images = {key: image for prompt in prompts for key, image in zip(prompt.image_keys, prompt.images, strict=True)}
        found = image_features(loaded, images, cache=features)
        merged = torch.cat([found[key] for prompt in prompts for key in prompt.image_keys]) if found else None
        tokens = Tokens(ids.to(device), ids.to(device), images=merged, image_at=torch.cat(image_at).to(device))
        embedded = loaded.family.embed(loaded.core, tokens)
    inputs = {"input_ids": tokens.ids, "attention_mask": mask.to(device)}
    return inputs if embedded is None else {**inputs, "inputs_embeds": embedded}


@dataclass
class _StopStrings:
    """Tells `generate` which sequences have written a stop string, looking at their last tokens only."""

    tokenizer: Any
    num_prompt: int
    stops: tuple[str, ...]

    def __post_init__(self) -> None:
        lengths = [len(self.tokenizer.encode(stop, add_special_tokens=False)) for stop in self.stops]
        # A stop string may share its first and last token with other text.
        self.num_tail = max(lengths, default=0) + 2

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        tails = input_ids[:, max(self.num_prompt, input_ids.shape[1] - self.num_tail) :].tolist()
        texts = [self.tokenizer.decode(tail, skip_special_tokens=True) for tail in tails]
        found = [any(stop in text for stop in self.stops) for text in texts]
        return torch.tensor(found, dtype=torch.bool, device=input_ids.device)


def _cut(text: str, stops: Sequence[str]) -> str:
    for stop in stops:
        text = text.split(stop)[0]
    return text
