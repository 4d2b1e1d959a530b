"""How many answers of three models were right, wrong, a refusal or gibberish: a refusal is no error of memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Literal

State = Literal["right", "wrong", "refusal", "gibberish"]
STATES: tuple[State, ...] = ("right", "wrong", "refusal", "gibberish")


@dataclass(frozen=True)
class StateCounts:
    """Answers of one model. Each is what holds first: right, a refusal, gibberish, wrong."""

    right: int
    """Say the true answer, whatever stands around it."""
    wrong: int
    """Say something else."""
    refusal: int
    """Open as a refusal, or with one of the benchmark's own."""
    gibberish: int
    """Are degenerate: empty, a loop, the question again, ..."""
    unanswered: int = 0
    """Questions without an answer, of a guard that has none or an attack that did not come so far; none of the four."""

    @property
    def num_answered(self) -> int:
        return self.right + self.wrong + self.refusal + self.gibberish

    @classmethod
    def total(cls, counts: Sequence[StateCounts]) -> StateCounts:
        """Those of several models together."""
        return cls(*map(sum, zip(*map(astuple, counts), strict=True)))


@dataclass(frozen=True)
class AnswerStates:
    """What three models answered to the questions of one task, plain or under one attack, all attempts alike."""

    task: str
    """Task whose questions were asked."""
    set: str
    """Set they come from: `forget`, `retain`, ..."""
    attack: str | None
    """What records call the attack; None for the plain questions."""
    own: StateCounts
    """This record's model."""
    target: StateCounts | None
    """The target model; None where it was not asked this, or there is none."""
    retain: StateCounts | None
    """The retain model, likewise."""

    @property
    def key(self) -> tuple[str, str | None]:
        """What no two lines of a record share."""
        return self.task, self.attack
