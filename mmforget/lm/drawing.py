"""Texts drawn from a model's own distribution, as tokens, and what models hold of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mmforget.errors import UserError
from mmforget.lm.batching import generation_batches, score_batches
from mmforget.lm.cache import ResponseCache
from mmforget.lm.engine import ModelEngine
from mmforget.lm.kept import Batch, contents, in_batches, key_of
from mmforget.model.activations import evaluating
from mmforget.model.choosing import Sampling, other_settings
from mmforget.model.encode import Encoded
from mmforget.model.generation import continues_together, new_tokens
from mmforget.model.loaded import LoadedModel
from mmforget.types import Progress

Tokens = tuple[int, ...]


def require_drawable(loaded: LoadedModel) -> None:
    """Raises UserError where texts cannot be drawn from the very distribution that the model is scored by."""
    if loaded.guard is not None:
        raise UserError(
            f"a guard ({loaded.guard.name}) stands before the model, and its texts have no probability; leave guard= "
            "out of the model's arguments"
        )
    settings = other_settings(loaded.core.generation_config, do_sample=True)
    penalty = loaded.core.generation_config.repetition_penalty
    if penalty not in (None, 1, 1.0):
        settings["repetition_penalty"] = penalty
    if settings:
        named = ", ".join(f"{name}={value}" for name, value in settings.items())
        raise UserError(
            f"{loaded.spec.pretrained}: its generation_config.json has {named}, under which texts are no draws from "
            "the model's distribution; take that out"
        )


def drawn(
    engine: ModelEngine,
    prompts: Sequence[Encoded],
    *,
    max_new_tokens: int,
    seeds: Sequence[int],
    cache: ResponseCache | None = None,
) -> list[Tokens]:
    """One text behind each prompt at temperature 1, the token that ends it included; no text is longer.

    Args:
        seeds: of each prompt; a text depends on nothing else that is drawn.
        cache: where texts are kept.

    Raises UserError as `require_drawable` does, and for a prompt that leaves no room.
    """
    loaded = engine.loaded
    require_drawable(loaded)
    packed = engine.packed and continues_together(loaded, do_sample=True)
    planned = generation_batches(
        prompts, max_new_tokens=max_new_tokens, batch_size=engine.batch_size, packed=packed
    )  # fmt: skip

    def write(batch: Batch) -> list[Tokens]:
        with evaluating(loaded.model), torch.no_grad():
            new = new_tokens(
                loaded, [prompts[at] for at in batch], max_new_tokens=max_new_tokens, sampling=Sampling(),
                seeds=[seeds[at] for at in batch], features=engine.features, packed=packed,
            )  # fmt: skip
        return list(map(tuple, new))

    keys = [
        key_of("drawn", engine.fingerprint, contents(prompt), max_new_tokens, seed)
        for prompt, seed in zip(prompts, seeds, strict=True)
    ]
    return list(map(tuple, in_batches(write, batches=list(planned), keys=keys, cache=cache)))


def totals(
    engine: ModelEngine,
    prompts: Sequence[Encoded],
    texts: Sequence[Tokens],
    *,
    progress: Progress,
    label: str,
    cache: ResponseCache | None = None,
) -> list[float]:
    """The log-prob, in nats, of each text as a whole behind its prompt; kept in the cache, where there is one."""
    encoded = [prompt.followed_by(text) for prompt, text in zip(prompts, texts, strict=True)]
    packed = engine.packed and engine.loaded.shares_prefixes
    planned, max_tokens = score_batches(encoded, batch_size=engine.batch_size, packed=packed)
    num_done = 0

    def told(batch: Batch) -> list[float]:
        scores = engine.score_encoded([encoded[at] for at in batch], max_tokens=max_tokens)
        return [sum(one.token_logprobs) for one in scores]

    def finished(batch: Batch) -> None:
        nonlocal num_done
        num_done += len(batch)
        progress(num_done, len(encoded), label)

    keys = [key_of("told", engine.fingerprint, contents(one)) for one in encoded]
    return in_batches(told, batches=list(planned), keys=keys, cache=cache, finished=finished)
