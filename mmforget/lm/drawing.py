"""Texts drawn from a model's own distribution, as tokens, and what models hold of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mmforget.errors import UserError
from mmforget.lm.batching import generation_batches, score_batches
from mmforget.lm.engine import ModelEngine
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
    engine: ModelEngine, prompts: Sequence[Encoded], *, max_new_tokens: int, seeds: Sequence[int]
) -> list[Tokens]:
    """One text behind each prompt at temperature 1, the token that ends it included; no text is longer.

    Args:
        seeds: of each prompt; a text depends on nothing else that is drawn.

    Raises UserError as `require_drawable` does, and for a prompt that leaves no room.
    """
    loaded = engine.loaded
    require_drawable(loaded)
    packed = engine.packed and continues_together(loaded, do_sample=True)
    planned = generation_batches(
        prompts, max_new_tokens=max_new_tokens, batch_size=engine.batch_size, packed=packed
    )  # fmt: skip
    found: dict[int, Tokens] = {}
    with evaluating(loaded.model), torch.no_grad():
        for batch in planned:
            new = new_tokens(
                loaded, [prompts[at] for at in batch], max_new_tokens=max_new_tokens, sampling=Sampling(),
                seeds=[seeds[at] for at in batch], features=engine.features, packed=packed,
            )  # fmt: skip
            found |= zip(batch, map(tuple, new), strict=True)
    return [found[at] for at in range(len(prompts))]


def totals(
    engine: ModelEngine, prompts: Sequence[Encoded], texts: Sequence[Tokens], *, progress: Progress, label: str
) -> list[float]:
    """The log-prob, in nats, of each text as a whole behind its prompt."""
    encoded = [prompt.followed_by(text) for prompt, text in zip(prompts, texts, strict=True)]
    packed = engine.packed and engine.loaded.shares_prefixes
    planned, max_tokens = score_batches(encoded, batch_size=engine.batch_size, packed=packed)
    found: dict[int, float] = {}
    for batch in planned:
        scores = engine.score_encoded([encoded[at] for at in batch], max_tokens=max_tokens)
        found |= {at: sum(one.token_logprobs) for at, one in zip(batch, scores, strict=True)}
        progress(len(found), len(encoded), label)
    return [found[at] for at in range(len(encoded))]
