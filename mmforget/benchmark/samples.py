"""A document and what a model made of it, as the sample that metrics read: here alone samples are made of documents."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mmforget.types import Sample


def sample_of(
    doc: Mapping[str, Any],
    *,
    kind: str,
    task: str = "",
    set_name: str = "",
    response: str | None = None,
    token_logprobs: Mapping[str, tuple[float, ...]] | None = None,
    choices: Sequence[str] | None = None,
) -> Sample:
    """A row with what a model made of it; of the row only `answer` has to be there.

    Args:
        choices: what was scored in place of the row's choices, e.g. their letters.
    """
    return Sample(
        task=task,
        set=set_name,
        kind=kind,
        id=str(doc.get("id", "")),
        subject=str(doc.get("subject", "")),
        question=str(doc.get("question", "")),
        answer=str(doc["answer"]),
        keywords=tuple(doc.get("keywords") or ()),
        path=tuple(doc.get("path") or ()),
        response=response,
        token_logprobs=token_logprobs or {},
        extra=json.loads(doc.get("extra") or "{}"),
        choices=tuple(choices if choices is not None else doc.get("choices") or ()),
        gold=doc.get("gold"),
    )
