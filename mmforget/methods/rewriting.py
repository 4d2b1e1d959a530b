"""Rows to forget with another answer or question, or with words before it: what methods write themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from mmforget.errors import UserError
from mmforget.types import Example

PLACEHOLDER, CUE = "<image>", "Question:"
"""Words go before the last cue of a context, where it has one."""


def without_images(context: str) -> str:
    """The context with no place for an image."""
    return context.replace(f"{PLACEHOLDER}\n", "").replace(PLACEHOLDER, "")


def answered(row: Example, text: str) -> Example:
    """The row's question answered by `text`, with the row's own delimiter. Raises UserError for a whole document."""
    _require_question(row)
    delimiter = row.answer[: len(row.answer) - len(row.answer.lstrip())]
    return replace(row, answer=delimiter + text)


def prefixed(row: Example, words: str) -> Example:
    """The row with words right before its question, behind its images. Raises UserError for a whole document."""
    _require_question(row)
    turns = list(row.turns)
    asked = max((at for at, turn in enumerate(turns) if turn["role"] == "user"), default=None)
    if asked is None:
        return replace(row, context=_with(row.context, words))
    said: Mapping[str, str] = turns[asked]
    turns[asked] = {**said, "content": _with(said["content"], words)}
    before, found, after = row.context.rpartition(said["content"])
    return replace(row, context=before + _with(found, words) + after, turns=tuple(turns))


def asked(row: Example, question: str) -> Example:
    """The row with another question, behind its images and its cue and before the one of the answer, in one turn.

    Raises UserError for a whole document.
    """
    _require_question(row)
    context = f"{PLACEHOLDER}\n" * len(row.images) if row.turns else row.context
    at = context.rfind(CUE)
    start = at + len(CUE) + 1 if at >= 0 else _behind_images(context)
    end = re.search(r"\s*\banswer:\s*\Z", context[start:], re.I)
    return replace(row, context=context[:start] + question + (end.group() if end else ""), turns=())


def _with(text: str, words: str) -> str:
    at = text.rfind(CUE)
    if at < 0:
        at = _behind_images(text)
    return text[:at] + words + text[at:]


def _behind_images(text: str) -> int:
    images = re.match(rf"(?:.*{re.escape(PLACEHOLDER)}\s*)?", text, re.S)
    return images.end() if images else 0


def _require_question(row: Example) -> None:
    if row.is_document:
        raise UserError(f"row '{row.id}' is a whole document, and this method changes a question or its answer")
