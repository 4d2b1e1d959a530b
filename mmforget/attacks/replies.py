"""What was said to an attack: by the model that is attacked, and by the target model, which it asks first."""

from __future__ import annotations

from typing import NamedTuple

from mmforget.asking import Ask


def question_of(ask: Ask) -> str:
    """What is asked, without what stands around it in the prompt where the row says so."""
    return ask.context if ask.row is None else str(ask.row["question"])


class Told(NamedTuple):
    """A question to the target model, and what it said."""

    question: str
    said: str

    @classmethod
    def of(cls, ask: Ask, said: str) -> Told:
        return cls(question_of(ask), said)


class Reply(NamedTuple):
    """An attempt, what was said to it, and what the judge takes that for: one of four response states."""

    ask: Ask
    said: str
    state: str
