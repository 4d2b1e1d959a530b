"""One vector on the embedding of every token, searched by gradients on some subjects and tried on the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmforget.attacks.shift_search import ShiftSearch


@dataclass(frozen=True)
class EmbeddingPerturbation(ShiftSearch):
    """The vector is added to the embeddings of all words, those that are written included; pictures keep theirs.

    Args: those of `ShiftSearch`.
    """

    label: ClassVar[str] = "embedding perturbation"


ATTACK = EmbeddingPerturbation
