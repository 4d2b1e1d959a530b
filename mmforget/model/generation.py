"""Text from prompts: what `model.generate` gives, with all that prompts have in common computed once.

texts = generate(loaded, [encode_prompt(loaded, "<image>\\nwho is this?", [picture])], max_new_tokens=50)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.model.avoiding import avoiding, held_down
from mmforget.model.choosing import (
    Choice,
    Sampling,
    StopStrings,
    choice_for,
    end_tokens,
    other_settings,
    own_numbers,
)
from mmforget.model.decoding import Memory, NextToken, prefill_of
from mmforget.model.families import Tokens
from mmforget.model.inputs import batch_tokens
from mmforget.model.last_layer import last_layer, only_at, seen_at
from mmforget.model.lora import adapters_off
from mmforget.model.lower_states import starting_above, usable
from mmforget.model.packing import Ints, lay_out, packed_rows
from mmforget.model.plain import plain
from mmforget.model.shallow import shallow
from mmforget.model.stack import by_place, selecting
from mmforget.model.vision import FeatureCache, image_features

if TYPE_CHECKING:
    from mmforget.model.attention import RowAttention
    from mmforget.model.encode import Encoded
    from mmforget.model.loaded import LoadedModel

logger = logging.getLogger(__name__)

SHARE_ENDED = 0.25
"""Prompts leave the batch once this share of it has ended: each time what is kept of the others is copied."""


def generate(
    loaded: LoadedModel,
    prompts: Sequence[Encoded],
    *,
    max_new_tokens: int,
    until: Sequence[str] = (),
    sampling: Sampling | None = None,
    seeds: Sequence[int | None] | None = None,
    features: FeatureCache | None = None,
    packed: bool = True,
) -> list[str]:
    """The continuation of each prompt, without special tokens, cut before the first of the `until` strings.

    All prompts form one batch. Greedy text equals that of plain `model.generate`, with the checkpoint's own settings,
    and ends at the tokenizer's end token, too. Sampling draws from torch's global generator. Equal prompts are computed
    once, however many texts are drawn behind them.

    Args:
        sampling: how tokens are drawn; None is greedy.
        seeds: of each prompt, by which its text is drawn whatever else is in the batch; a prompt that has none is then
            not sampled.
        packed: False leaves it to `model.generate`, where prompts share nothing. So does a checkpoint whose settings
            ask for what only that can do; this is said once.

    Raises:
        UserError: a prompt that leaves no room for `max_new_tokens`, or sampling settings out of range.
    """
    new = new_tokens(
        loaded, prompts, max_new_tokens=max_new_tokens, until=until, sampling=sampling, seeds=seeds, features=features,
        packed=packed,
    )  # fmt: skip
    stops = StopStrings(loaded.tokenizer, tuple(stop for stop in until if stop))
    texts = [loaded.tokenizer.decode(ids, skip_special_tokens=True) for ids in new]
    return [stops.cut(text, lead=prompt.lead) for text, prompt in zip(texts, prompts, strict=True)]


def new_tokens(
    loaded: LoadedModel,
    prompts: Sequence[Encoded],
    *,
    max_new_tokens: int,
    until: Sequence[str] = (),
    sampling: Sampling | None = None,
    seeds: Sequence[int | None] | None = None,
    features: FeatureCache | None = None,
    packed: bool = True,
) -> list[list[int]]:
    """The token ids of each continuation as `generate` writes it, the one that ends the text included, uncut.

    Raises UserError as `generate` does.
    """
    if not prompts:
        return []
    if sampling is not None:
        _check_sampling(sampling)
    check_room(loaded, prompts, max_new_tokens=max_new_tokens)
    stops = StopStrings(loaded.tokenizer, tuple(stop for stop in until if stop))
    drawn = own_numbers(seeds, num_tokens=max_new_tokens) if seeds is not None and sampling is not None else None
    with torch.no_grad():
        if packed and continues_together(loaded, do_sample=sampling is not None):
            ends = end_tokens(loaded.core.generation_config, tokenizer=loaded.tokenizer)
            choice = choice_for(loaded.core.generation_config, sampling, ends=ends)
            return _continue(
                loaded, prompts, features=features, choice=choice, stops=stops, max_new_tokens=max_new_tokens,
                drawn=drawn,
            )  # fmt: skip
        return plain(
            loaded, prompts, images=_images(loaded, prompts, features=features), sampling=sampling, stops=stops,
            max_new_tokens=max_new_tokens, drawn=drawn, before=_images_before(loaded, prompts, features=features),
        )  # fmt: skip


def _check_sampling(sampling: Sampling) -> None:
    if not sampling.temperature > 0:
        raise UserError(f"temperature={sampling.temperature} must be above 0; for greedy text leave do_sample out")
    if not 0 < sampling.top_p <= 1:
        raise UserError(f"top_p={sampling.top_p} must be in (0, 1]")


def check_room(loaded: LoadedModel, prompts: Sequence[Encoded], *, max_new_tokens: int) -> None:
    """Raises UserError where a prompt leaves no room for so many new tokens."""
    if max_new_tokens < 1:
        raise UserError(f"max_new_tokens={max_new_tokens} must be at least 1")
    longest = max(len(prompt) for prompt in prompts)
    if longest + max_new_tokens > loaded.max_length:
        raise UserError(
            f"a prompt of {longest} tokens and {max_new_tokens} new ones exceed the {loaded.max_length} tokens that "
            f"{loaded.spec.pretrained} takes; lower max_gen_toks or shorten the prompt"
        )


def continues_together(loaded: LoadedModel, *, do_sample: bool) -> bool:
    """Whether prompts share what they begin with; says once where only the checkpoint's settings are in the way."""
    if not loaded.continues_prefixes:
        return False
    settings = other_settings(loaded.core.generation_config, do_sample=do_sample)
    if settings:
        _say_plain(loaded.spec.pretrained, str(settings))
    return not settings


@cache
def _say_plain(pretrained: str, settings: str) -> None:
    logger.warning(
        "%s: its generation settings %s need plain model.generate, where prompts share nothing, which is slower",
        pretrained,
        settings,
    )


@dataclass(frozen=True, eq=False)
class _Batch:
    """Prompts that are being continued together.

    Attributes:
        numbers: which prompts, [B].
        known: int64 [B, longest prompt + new tokens], all ids so far; in front of a shorter prompt its first id.
        position: int64 [B], of the first new token.
        memory: keys and values.
        edit: [B] as `Layout.edit` has it.
    """

    numbers: list[int]
    known: Tensor
    position: Tensor
    memory: Memory
    edit: Ints | None

    def keep(self, indices: list[int]) -> _Batch:
        numbers = [self.numbers[index] for index in indices]
        edit = None if self.edit is None else self.edit[indices]
        return _Batch(numbers, self.known[indices], self.position[indices], self.memory.keep(indices), edit)


def _continue(
    loaded: LoadedModel,
    prompts: Sequence[Encoded],
    *,
    features: FeatureCache | None,
    choice: Choice,
    stops: StopStrings,
    max_new_tokens: int,
    drawn: Tensor | None,
) -> list[list[int]]:
    """New token ids of each prompt, the one that ends the text included; `drawn` as `Choice.next_tokens` takes them."""
    sides = _sides(loaded, prompts, features=features, max_new_tokens=max_new_tokens)
    batch = sides[-1].batch
    longest = batch.known.shape[1] - max_new_tokens
    new: list[list[int]] = [[] for _ in prompts]
    avoided = avoiding(loaded, prompts)
    ended: set[int] = set()
    for number in range(max_new_tokens):
        logits = held_down(
            _logits(loaded, sides), [avoided[one] for one in batch.numbers], [new[one] for one in batch.numbers]
        )
        own = None if drawn is None else drawn[batch.numbers, number]
        ids = choice.next_tokens(logits, known=batch.known[:, : longest + number], drawn=own)
        for prompt, token in zip(batch.numbers, ids.tolist(), strict=True):
            if prompt not in ended:
                new[prompt].append(token)
                if token in choice.ends or stops.ended(new[prompt], lead=prompts[prompt].lead):
                    ended.add(prompt)
        left = [index for index, prompt in enumerate(batch.numbers) if prompt not in ended]
        if not left or number + 1 == max_new_tokens:
            break
        if len(left) <= (1 - SHARE_ENDED) * len(batch.numbers):
            for side in sides:
                side.batch = side.batch.keep(left)
            batch, ids = sides[-1].batch, ids[left]
        batch.known[:, longest + number] = ids
        for side in sides:
            with side.model():
                side.hidden = _next_hidden(loaded, side.batch, ids=ids, number=number)
    return new


@dataclass(eq=False)
class _Side:
    """Prompts as one of the models continues them whose logits are mixed.

    Attributes:
        model: a context in which `loaded` is that model.
        hidden: [B, H] of the last token of each prompt.
    """

    model: Callable[[], AbstractContextManager[object]]
    hidden: Tensor
    batch: _Batch


def _sides(
    loaded: LoadedModel, prompts: Sequence[Encoded], *, features: FeatureCache | None, max_new_tokens: int
) -> list[_Side]:
    """One for the model, behind one for that without its adapter where logits are mixed."""
    models: list[Callable[[], AbstractContextManager[object]]] = [partial(shallow, loaded)]
    if loaded.mix is not None:
        models.insert(0, partial(adapters_off, loaded))
    sides = []
    for model in models:
        with model():
            sides.append(_Side(model, *_prefill(loaded, prompts, features=features, max_new_tokens=max_new_tokens)))
    return sides


def _logits(loaded: LoadedModel, sides: Sequence[_Side]) -> Tensor:
    """What the next token of each prompt is chosen by, [B, V]."""
    found = []
    for side in sides:
        with side.model():
            found.append(loaded.family.head(loaded.core, side.hidden).to(loaded.device))
    return found[0] if loaded.choose is None else loaded.choose(*(one.float() for one in found))


def stepwise_logprobs(loaded: LoadedModel, prompts: Sequence[Encoded], new: Tensor) -> Tensor:
    """Log-probs [B, T] of given new tokens, int64 [B, T], computed as generation does it: one behind the other."""
    hidden, batch = _prefill(loaded, prompts, features=None, max_new_tokens=new.shape[1])
    found = torch.empty(new.shape)
    for number in range(new.shape[1]):
        ids = new[batch.numbers, number].to(loaded.device)
        if number:
            hidden = _next_hidden(
                loaded, batch, ids=new[batch.numbers, number - 1].to(loaded.device), number=number - 1
            )
        logprobs = loaded.family.head(loaded.core, hidden).float().log_softmax(-1)
        found[batch.numbers, number] = logprobs.gather(-1, ids[:, None].to(logprobs.device))[:, 0].cpu()
    return found


def _prefill(
    loaded: LoadedModel, prompts: Sequence[Encoded], *, features: FeatureCache | None, max_new_tokens: int
) -> tuple[Tensor, _Batch]:
    """Hidden states [B, H] of the last token of each prompt, every distinct token computed once."""
    rows = packed_rows(prompts, max_tokens=sum(map(len, prompts)))
    layout = lay_out(prompts, rows, first=[len(prompt) for prompt in prompts], width=0)
    lower, kept = usable(loaded, is_flat=True), None
    images = None if lower is not None else _images(loaded, prompts, features=features)
    tokens = batch_tokens(loaded, layout, images=images)
    seen = cast("RowAttention", tokens.rows)  # a flat layout has them
    prefill = prefill_of(prompts, rows, layout=layout, seen=seen, max_new_tokens=max_new_tokens, device=loaded.device)
    last, read = last_layer(loaded), torch.unique(prefill.last)
    prefill = replace(prefill, seen=seen_at(loaded, last, seen, layout=layout, places=read.cpu().numpy()))
    if lower is not None:
        kept = lower.of(loaded, prompts, rows, features=features, with_keys=True)
        for layer, pair in kept.keys.items():
            prefill.put(layer, *pair)
    with (
        selecting(loaded, by_place(layout.edit, device=loaded.device)),
        starting_above(loaded, kept),
        only_at(last, read),
    ):
        hidden = loaded.family.hidden(loaded.core, tokens._replace(rows=prefill)).flatten(0, 1)
    numbers = [member for row in rows for member in row.members]
    longest = max(len(prompt) for prompt in prompts)
    known = torch.empty(len(prompts), longest + max_new_tokens, dtype=torch.int64)
    for index, number in enumerate(numbers):
        ids = torch.from_numpy(prompts[number].array)
        known[index, : longest - len(ids)] = ids[0]
        known[index, longest - len(ids) : longest] = ids
    position = torch.tensor([int(prompts[number].positions.max()) + 1 for number in numbers])
    edit = None if layout.edit is None else layout.edit[0, prefill.last.cpu().numpy()]
    batch = _Batch(numbers, known.to(loaded.device), position.to(loaded.device), prefill.memory(), edit)
    return hidden.index_select(0, prefill.last.to(hidden.device)), batch


def _images(loaded: LoadedModel, prompts: Sequence[Encoded], *, features: FeatureCache | None) -> dict[str, Any]:
    """What `image_features` gives for the images of all prompts."""
    images = {key: image for prompt in prompts for key, image in zip(prompt.image_keys, prompt.images, strict=True)}
    return image_features(loaded, images, cache=features)


def _images_before(
    loaded: LoadedModel, prompts: Sequence[Encoded], *, features: FeatureCache | None
) -> dict[str, Any] | None:
    """The same without the model's adapter, where logits are mixed; else None."""
    if loaded.mix is None:
        return None
    with adapters_off(loaded):
        return _images(loaded, prompts, features=features)


def _next_hidden(loaded: LoadedModel, batch: _Batch, *, ids: Tensor, number: int) -> Tensor:
    """Hidden states [B, H] of the `number`-th new tokens."""
    position = (batch.position + number)[None]
    tokens = Tokens(ids[None], position, rows=NextToken(batch.memory, number))
    with selecting(loaded, by_place(batch.edit, device=loaded.device)):
        return loaded.family.hidden(loaded.core, tokens)[0]
