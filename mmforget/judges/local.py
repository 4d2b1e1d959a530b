"""A judge on this machine: any instruct or guard model that transformers loads, answering greedily.

judge = local_judge("Qwen/Qwen2.5-7B-Instruct", refusals=())
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from mmforget.errors import UserError
from mmforget.judges.reading import MAX_NEW_TOKENS, Conversation, ReadingJudge

if TYPE_CHECKING:
    from mmforget.model.loaded import LoadedModel
    from mmforget.model.spec import ModelSpec

BATCH_SIZE = 8
GUARD = "guard"
"""A model with this in its name says `safe` or `unsafe` of a conversation, as Llama Guard does."""


def local_judge(text: str, *, refusals: tuple[str, ...], device: str | None) -> ReadingJudge:
    """The judge `hf:TEXT`: a folder or hub id, or whole model arguments (`pretrained=...,load_in_4bit=True`).

    The model is loaded when it is first asked. Raises UserError for model arguments that cannot be.
    """
    from mmforget.model.spec import ModelSpec
    from mmforget.results.provenance import model_name

    spec = ModelSpec.parse(text if "=" in text else f"pretrained={text}", device=device)
    named = model_name(spec.pretrained)
    return ReadingJudge(
        name=f"hf:{named}",
        model=lambda: _loaded(spec).fingerprint,
        ask=lambda conversations: _answers(_loaded(spec), conversations),
        is_guard=GUARD in named.lower(),
        refusals=refusals,
        facts={"model": named, "revision": spec.revision, "load_in_4bit": spec.load_in_4bit},
    )


@lru_cache(maxsize=1)
def _loaded(spec: ModelSpec) -> LoadedModel:
    from mmforget.model.load import load_model

    return load_model(spec)


def _answers(loaded: LoadedModel, conversations: Sequence[Conversation]) -> list[str | None]:
    from mmforget.model.encode import encode_prompt
    from mmforget.model.generation import generate

    found: list[str | None] = []
    for start in range(0, len(conversations), BATCH_SIZE):
        texts = [_rendered(loaded, one) for one in conversations[start : start + BATCH_SIZE]]
        prompts = [encode_prompt(loaded, text) for text in texts]
        found += generate(loaded, prompts, max_new_tokens=MAX_NEW_TOKENS)
    return found


def _rendered(loaded: LoadedModel, conversation: Conversation) -> str:
    """The conversation in the model's own chat template, ready for its answer."""
    from mmforget.model.chat import PLACEHOLDER, render_chat, template_owner

    if template_owner(tokenizer=loaded.tokenizer, processor=loaded.processor)[0] is None:
        raise UserError(
            f"--judge hf:{loaded.spec.pretrained} has no chat template; name an instruct or a guard model, or use rules"
        )
    messages = [
        {"role": turn.role, "content": turn.text.replace(PLACEHOLDER, "")}  # no image goes with it
        for turn in conversation
    ]
    return render_chat(messages, tokenizer=loaded.tokenizer, processor=loaded.processor, add_generation_prompt=True)
