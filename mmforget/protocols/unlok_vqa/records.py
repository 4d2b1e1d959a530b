"""What there is about one fact to delete: its question and picture, other wordings and pictures, and what stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

LEVELS = ("easy", "medium", "hard")
"""Of rephrased questions and pictures, as the paper's figure calls them; neighbouring pictures have no medium one."""


class Picture(NamedTuple):
    """A picture: a file, or something that the twin draws."""

    path: Path | None = None
    look: Any = None


class Talk(NamedTuple):
    """A question and its answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class Fact:
    """One instance.

    Attributes:
        key: its position in the file or its `id`, see `official`.
        noun: from the question, for the prompts that are to lure the answer out.
        target: what the noun's place is taken by in these; the noun where the data name nothing else.
        paraphrases: other wordings of the question.
        alternatives: false answers.
        shown: which of the alternatives the neighbouring pictures show; None where nobody says.
        neighbours: other questions about the same picture.
        picture: None where its file is missing.
        rephrased: by level, pictures to which the answer is the same.
        neighbouring: by level, pictures to which another answer is right.
    """

    key: str
    question: str
    answer: str
    noun: str = ""
    target: str = ""
    paraphrases: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()
    shown: int | None = None
    neighbours: tuple[Talk, ...] = ()
    picture: Picture | None = None
    rephrased: Mapping[str, Picture] = field(default_factory=dict)
    neighbouring: Mapping[str, Picture] = field(default_factory=dict)

    @property
    def neighbour_answer(self) -> str:
        """What the neighbouring pictures show; the empty text where nobody says."""
        return self.alternatives[self.shown] if self.shown is not None else ""

    @property
    def repeats_noun(self) -> bool:
        """Whether the noun stands more than once in the question, where the official code leaves the fact out."""
        return bool(self.noun) and self.question.count(self.noun) > 1
