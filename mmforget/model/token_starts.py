"""Where in a text each token begins, as a fast tokenizer of Hugging Face tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmforget.errors import UserError
from mmforget.model.chat import PLACEHOLDER

if TYPE_CHECKING:
    from mmforget.model.encode import Encoded
    from mmforget.model.loaded import LoadedModel


def text_starts(loaded: LoadedModel, text: str) -> list[int]:
    """The character that each of a text's tokens begins at. Raises UserError for a tokenizer that does not tell."""
    if not getattr(loaded.tokenizer, "is_fast", False):
        raise UserError(
            f"the tokenizer of {loaded.spec.pretrained} does not tell where its tokens begin; use its fast form"
        )
    told = loaded.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return [int(start) for start, _ in told["offset_mapping"]]


def answer_starts(loaded: LoadedModel, context: str, answer: str, *, encoded: Encoded) -> list[int]:
    """The character of `answer` that each answer token begins at, below 0 in blanks of the context.

    An end-of-sequence token that was put behind begins where the answer ends.
    """
    text = context + answer
    text = text if loaded.image_text is None else text.replace(PLACEHOLDER, loaded.image_text)
    # An image's text may be longer than that of its placeholder, and what stands behind it is as far from the end.
    starts = [start - len(text) + len(answer) for start in text_starts(loaded, text)]
    ids, own = loaded.token_ids(text), encoded.ids[encoded.num_context :]
    if own[-1] == loaded.tokenizer.eos_token_id and ids[-1] != own[-1]:
        ids, starts = (*ids, own[-1]), [*starts, len(answer)]
    if ids[-len(own) :] != own:
        raise UserError(f"the tokens of the answer {answer[:40]!r} are others than those of question and answer")
    return starts[-len(own) :]
