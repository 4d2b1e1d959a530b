"""What black-box attacks have that others help with: the target model by its answers, or a model that rewrites."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mmforget.asking import Ask, Decoding
from mmforget.attacks.base import Asking, Attack, Lacking, Others
from mmforget.attacks.replies import Reply, Told


class Targeting(Attack, Protocol):
    """A black-box attack made of what the target model says, before anything was forgotten; `knows = "target"`."""

    def queries(self, ask: Ask, others: Others) -> list[Ask] | Lacking:
        """What the target model is asked about a row; `row["question"]` of each says what that is."""

    def asks(self, ask: Ask, told: Sequence[Told]) -> list[Ask] | Lacking:
        """As `Asking.asks`; `told` are the target's answers to all of `queries`, in order."""


class Rewritten(Asking, Protocol):
    """A black-box attack whose attempts another model writes; `knows = "attacker"`. Its own `asks` gives none."""

    @property
    def budget(self) -> int: ...

    def prompt(self, ask: Ask, tried: Sequence[Reply]) -> str:
        """What the attacker model is told, as one message of a user."""

    def decoding(self, ask: Ask, *, number: int, again: int) -> Decoding:
        """How it writes attempt `number`, for the first time (`again` 0) or once more; sampled text needs a seed."""

    def attempt(self, ask: Ask, said: str, tried: Sequence[Reply]) -> Ask | None:
        """The question that it wrote; None where that cannot be asked."""
