"""Tokenizer and processor of a model, from its folder or the hub."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mmforget.errors import UserError
from mmforget.model.families import is_image_text
from mmforget.model.spec import ModelSpec

logger = logging.getLogger(__name__)


def tokenizer_and_processor(spec: ModelSpec, *, config: Any, source: Mapping[str, Any]) -> tuple[Any, Any | None]:
    """The tokenizer, which always has a padding token, and the processor of an image-text model.

    Args:
        source: revision and the like, for `from_pretrained`.

    Raises:
        UserError: an image-text model without a processor.
    """
    from transformers import AutoTokenizer

    if is_image_text(config):
        processor = _processor(spec, config=config, source=source)
        tokenizer = getattr(processor, "tokenizer", None)
        if tokenizer is None or not hasattr(processor, "image_processor"):
            raise UserError(
                f"{spec.pretrained} brings no processor for images and text; "
                "use a checkpoint with a processor_config.json or preprocessor_config.json"
            )
    else:
        processor, tokenizer = None, AutoTokenizer.from_pretrained(spec.pretrained, **source)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.bos_token or tokenizer.convert_ids_to_tokens(0)
    return tokenizer, processor


def _processor(spec: ModelSpec, *, config: Any, source: Mapping[str, Any]) -> Any:
    from transformers import AutoProcessor
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    try:
        return AutoProcessor.from_pretrained(spec.pretrained, **source)
    except (ImportError, OSError, ValueError):
        kind = PROCESSOR_MAPPING.get(type(config), None)
        if kind is None or "video_processor" not in kind.get_attributes():
            raise
    logger.info(
        "%s: its video processor cannot be loaded here (it needs torchvision); images do not need it", spec.pretrained
    )
    return _without_video(kind).from_pretrained(spec.pretrained, **source)


def _without_video(kind: type) -> Any:
    """A processor class, under the same name, that does not ask for the part that reads videos."""

    def init(
        self: Any, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None, **rest: Any
    ) -> None:
        kind.__init__(self, image_processor, tokenizer, None, chat_template=chat_template, **rest)  # type: ignore[misc]

    return type(kind.__name__, (kind,), {"__init__": init})
