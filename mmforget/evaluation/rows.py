"""Rows of a benchmark as questions to a model, without a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmforget.asking import Ask, Decoding
from mmforget.results.fingerprint import hash_image
from mmforget.types import Example


def ask_of(doc: Mapping[str, Any], row: Example) -> Ask:
    """The question of a row.

    Args:
        doc: the row as the benchmark has it, and
        row: as the model is asked about it.
    """
    keys = tuple(map(hash_image, row.images))
    return Ask("generate", "", row.context, None, row.images, keys, Decoding(1), where=f"row '{row.id}'", row=doc)
