"""Training text equals evaluation text: examples rendered as the LM adapter renders lm_eval's contexts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mmforget.benchmark.spec import Benchmark
from mmforget.model.chat import render_chat
from mmforget.model.loaded import LoadedModel
from mmforget.pipeline.config import RunConfig
from mmforget.types import Example


def render(
    examples: Sequence[Example], *, loaded: LoadedModel, benchmark: Benchmark, config: RunConfig
) -> list[Example]:
    """The examples as the model will be asked: in its chat template where the run applies one, else unchanged.

    lm_eval drops the target delimiter under a chat template, whose own text separates the turns; so do we.
    """
    if not config.apply_chat_template:
        return list(examples)
    delimiter = benchmark.target_delimiter
    return [
        replace(
            example,
            context=_chat(example.context, loaded=loaded, config=config),
            answer=example.answer.removeprefix(delimiter),
        )
        for example in examples
    ]


def _chat(context: str, *, loaded: LoadedModel, config: RunConfig) -> str:
    name = config.apply_chat_template
    return render_chat(
        [{"role": "user", "content": context}],
        tokenizer=loaded.tokenizer,
        processor=loaded.processor,
        add_generation_prompt=True,
        template=name if isinstance(name, str) else None,
    )
