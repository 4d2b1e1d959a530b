"""Training text equals evaluation text: examples rendered as the LM adapter renders lm_eval's contexts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mmforget.model.chat import render_chat
from mmforget.model.examples import in_windows
from mmforget.model.loaded import LoadedModel
from mmforget.pipeline.config import RunConfig
from mmforget.types import Example


def render(examples: Sequence[Example], *, loaded: LoadedModel, config: RunConfig) -> list[Example]:
    """The examples as the model will be asked: questions in its chat template where the run applies one, documents
    without and in as many windows as they take.

    lm_eval drops the target delimiter under a chat template, whose own text separates the turns; so do we.
    """
    if config.apply_chat_template:
        examples = [one if one.is_document else _chat(one, loaded=loaded, config=config) for one in examples]
    return in_windows(loaded, examples)


def _chat(example: Example, *, loaded: LoadedModel, config: RunConfig) -> Example:
    name = config.apply_chat_template
    context = render_chat(
        example.turns or [{"role": "user", "content": example.context}],
        tokenizer=loaded.tokenizer,
        processor=loaded.processor,
        add_generation_prompt=True,
        template=name if isinstance(name, str) else None,
    )
    return replace(example, context=context, answer=example.answer.removeprefix(example.delimiter), delimiter="")
