"""Training text equals evaluation text: examples rendered as the LM adapter renders lm_eval's contexts."""

from __future__ import annotations

from collections.abc import Sequence

from mmforget.model.examples import as_asked
from mmforget.model.loaded import LoadedModel
from mmforget.pipeline.config import RunConfig
from mmforget.types import Example


def render(examples: Sequence[Example], *, loaded: LoadedModel, config: RunConfig) -> list[Example]:
    """The examples as the run asks the model about them; see `as_asked`."""
    return as_asked(examples, loaded=loaded, template=config.apply_chat_template)
