"""Examples made ready for a model, all of them before any work starts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from mmforget.errors import BadData, UserError
from mmforget.model.chat import render_chat
from mmforget.model.encode import Encoded, document_windows, encode
from mmforget.model.loaded import LoadedModel
from mmforget.results.fingerprint import hash_image
from mmforget.types import Example

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)


def encode_all(loaded: LoadedModel, examples: Sequence[Example], *, append_eos: bool, source: str) -> list[Encoded]:
    """Encodes every example. Raises BadData naming each row that cannot be encoded, before anything is computed.

    Of a document just its own tokens count, as they are scored: no end of text behind it.

    Args:
        source: what the rows are, for messages, e.g. `rows to forget`.
    """
    if not examples:
        raise UserError(f"{source}: there are none; check the set, the setting and --limit")
    encoded, faults = list[Encoded](), list[str]()
    keys = _ImageKeys()
    for example in examples:
        try:
            if example.is_document:
                encoded.append(_window(loaded, example))
                continue
            encoded.append(
                encode(
                    loaded,
                    example.context,
                    example.answer,
                    example.images,
                    image_keys=keys.of(example.images),
                    append_eos=append_eos,
                )
            )
        except UserError as error:
            faults.append(f"row '{example.id}': {error}")
    if faults:
        raise BadData(source, faults=faults)
    _say_borders(loaded, examples, encoded, append_eos=append_eos, source=source)
    return encoded


def joined(examples: Sequence[Example], encoded: Sequence[Encoded]) -> list[str]:
    """Ids of the rows whose answer begins in the middle of a token."""
    return [example.id for example, one in zip(examples, encoded, strict=True) if one.is_joined]


def _say_borders(
    loaded: LoadedModel, examples: Sequence[Example], encoded: Sequence[Encoded], *, append_eos: bool, source: str
) -> None:
    """Says how many answers the tokenizer leaves without their beginning or their end."""
    rows = joined(examples, encoded)
    if rows:
        _say_once(
            f"{source}: in {len(rows)} of {len(examples)} rows, the first '{rows[0]}', one token holds the end of the "
            "question and the beginning of the answer, which is then neither learnt nor scored; end doc_to_text with "
            "a blank or a newline"
        )
    if append_eos and loaded.tokenizer.eos_token_id is None:
        _say_once(
            f"{source}: the tokenizer of {loaded.spec.pretrained} has no end token, so {len(examples)} answers are "
            "learnt without one"
        )


@cache
def _say_once(text: str) -> None:
    logger.warning("%s", text)


def as_asked(examples: Sequence[Example], *, loaded: LoadedModel, template: bool | str) -> list[Example]:
    """The examples as the model is asked: questions in its chat template where there is one, documents without and in
    as many windows as they take.

    lm_eval drops the target delimiter under a chat template, whose own text separates the turns, unless the answer's
    turn is begun for the model; so do we.

    Args:
        template: whether the model's chat template is applied, or the name of one.
    """
    shown = [
        one if one.is_document else _in_chat(one, loaded=loaded, template=template) if template else in_plain_text(one)
        for one in examples
    ]
    return in_windows(loaded, shown)


def in_plain_text(example: Example) -> Example:
    """Description, context and the beginning of the answer one behind the other."""
    prefix = example.gen_prefix
    is_apart = not prefix or not example.context or example.context[-1].isspace() or prefix[0].isspace()
    context = example.description + example.context + ("" if is_apart else example.delimiter) + prefix
    return replace(example, context=context, description="", gen_prefix="")


def _in_chat(example: Example, *, loaded: LoadedModel, template: bool | str) -> Example:
    prefix = example.gen_prefix
    said = [{"role": "system", "content": example.description}] if example.description else []
    said += [dict(turn) for turn in example.turns] or [{"role": "user", "content": example.context}]
    said += [{"role": "assistant", "content": prefix}] if prefix else []
    context = render_chat(
        said,
        tokenizer=loaded.tokenizer,
        processor=loaded.processor,
        add_generation_prompt=not prefix,
        template=template if isinstance(template, str) else None,
    )
    delimiter = example.delimiter if prefix and not prefix[-1].isspace() else ""
    answer = delimiter + example.answer.removeprefix(example.delimiter)
    return replace(example, context=context, answer=answer, delimiter=delimiter, description="", gen_prefix="")


def in_windows(loaded: LoadedModel, examples: Sequence[Example]) -> list[Example]:
    """The examples with each document that is longer than the model takes as several, one a window."""
    found = []
    for example in examples:
        count = len(document_windows(loaded, example.answer)) if example.is_document else 1
        found += [example] if count == 1 else [replace(example, window=window) for window in range(count)]
    return found


def _window(loaded: LoadedModel, example: Example) -> Encoded:
    windows = document_windows(loaded, example.answer)
    if example.window is None and len(windows) > 1:
        raise UserError(
            f"a document of {len(windows)} windows of {loaded.max_length} tokens; split it with examples.in_windows"
        )
    return windows[example.window or 0]


class _ImageKeys:
    """Pixel hashes, once an image object: questions about one subject usually hold the very same one."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Image, str]] = {}

    def of(self, images: Sequence[Image]) -> list[str]:
        return [self._known.setdefault(id(image), (image, self._hash(image)))[1] for image in images]

    def _hash(self, image: Image) -> str:
        known = self._known.get(id(image))
        return known[1] if known else hash_image(image)
