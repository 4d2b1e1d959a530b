"""What a method says and hears whose rows to forget are written by the model itself. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mmforget.asking import Decoding
from mmforget.types import Example


class Asking(NamedTuple):
    """A question that the model is to answer.

    Attributes:
        row: to forget; its images are shown, and what stands around its question stays.
        question: in place of the row's own.
        decoding: `max_new_tokens` are at most half of what the model has room for; sampled text has its own `seed`.
    """

    row: Example
    question: str
    decoding: Decoding


class Told(NamedTuple):
    """What is forgotten in the place of a row: a question and the model's answer, which is empty where it gave none."""

    question: str
    answer: str


Write = Callable[[Sequence[Asking]], list[str]]
"""The model's answers as it is by then, in order."""
