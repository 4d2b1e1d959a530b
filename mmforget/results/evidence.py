"""What a verdict rests on: how often an attack, or the plain question, finds the answers in three models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["found", "ruled_out", "open", "blind"]
EXCESS, PLAIN = "excess/", "plain"
"""What the key of an excess begins with, and ends with for the plain questions."""


@dataclass(frozen=True)
class Evidence:
    """An attack on a task of what was to be forgotten, or its plain questions."""

    attack: str | None
    """What records call it; None for the plain questions."""
    task: str
    """Task whose questions were asked."""
    access: str
    """What it needs of the model: `black_box`, `logits`, `hidden`, `gradients` or `weights`."""
    num_scored: int
    """Questions of the unlearned model that could be scored."""
    num_unscored: int
    """Those that should have been and could not."""
    num_subjects: int
    """Subjects that the interval rests on."""
    unlearned: float | None
    """Share of its questions whose answer is found within the budget."""
    target: float | None
    """The same of the target model."""
    retain: float | None
    """The same of the retain model: the rate of who never knew."""
    excess: float | None = None
    """What is found above the retain model's rate."""
    low: float | None = None
    """Lower end of its 95 % interval, both models compared subject by subject."""
    high: float | None = None
    """Upper end."""
    p_value: float | None = None
    """Of there being no more than the negligible excess; two-sided, of this line alone."""
    adjusted: float | None = None
    """The same, adjusted for all lines that can tell anything."""
    p_left: float | None = None
    """Of a quarter of its room or more being left; one-sided, of this line alone."""
    outcome: Outcome = "blind"
    """`found`: surely more than in the retain model. `ruled_out`: surely less than a quarter of what it finds in the
    target above the retain model. `open`: neither. `blind`: it finds no more in the target, and tells nothing.
    """

    @property
    def name(self) -> str:
        """The attack's, or `plain questions`."""
        return self.attack or "plain questions"

    @property
    def key(self) -> str:
        """What its excess is called in the headline."""
        return f"{EXCESS}{self.task}/{self.attack or PLAIN}"

    @property
    def room(self) -> float:
        """How much more it finds in the target than in the retain model; 0 where that is not known."""
        return 0.0 if self.target is None or self.retain is None else self.target - self.retain
