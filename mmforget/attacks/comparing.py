"""Attacks that look for no answer: what they keep of a model's states or weights is compared with another model's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from mmforget.asking import Depth
from mmforget.attacks.base import Attack
from mmforget.benchmark.document import MetricName

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Keeping(Attack, Protocol):
    """An attack that keeps hidden states, by which models are compared.

    Attributes:
        metrics: what they are compared by, each a reference metric that reads `Sample.states`.
    """

    @property
    def metrics(self) -> tuple[MetricName, ...]: ...

    def depths(self, num_layers: int) -> tuple[Depth, ...]:
        """Where it looks in a model of so many decoder layers."""

    def keep(self, states: Tensor) -> Mapping[str, Tensor]:
        """What is kept, by name, of states float32 [D, T, H] of the T places that predict the answer's tokens."""


@runtime_checkable
class Patching(Attack, Protocol):
    """An attack that puts the states of a model into another one.

    Attributes:
        into: the model that they are put into.
        metrics: what is made of the log-probs there, each a reference metric that reads `Sample.states`.
    """

    @property
    def into(self) -> Literal["target"]: ...
    @property
    def metrics(self) -> tuple[MetricName, ...]: ...

    def depths(self, num_layers: int) -> tuple[Depth, ...]:
        """Of which of so many decoder layers the states are put there, each alone."""


class Column(NamedTuple):
    """A column of the matrix that ends a decoder layer's feed-forward block, both counted from 0."""

    layer: int
    number: int


@runtime_checkable
class Columns(Attack, Protocol):
    """An attack on weights that changes none: it keeps columns, by which models are compared.

    Attributes:
        metrics: what they are compared by, each a reference metric that reads `Sample.states`.
    """

    @property
    def metrics(self) -> tuple[MetricName, ...]: ...

    def named(self) -> tuple[Column, ...]:
        """All columns that it may keep. Raises UserError where nothing can be known of any."""

    def columns(self, subject: str) -> tuple[Column, ...]:
        """Those of a subject; none where none is known."""

    def keep(self, vector: Tensor, logits: Tensor) -> Mapping[str, Tensor]:
        """What is kept, by name, of a column float32 [H] and of what the head makes of it, float32 [V]."""


Compared = Keeping | Patching | Columns


def is_compared(attack: Any) -> bool:
    """Whether an attack looks for no answer: models are compared by what it keeps of each."""
    return isinstance(attack, Compared)


def metrics_of(attack: Attack | type[Any]) -> tuple[MetricName, ...]:
    """What an attack's samples are compared by; empty for one that looks for answers."""
    metrics: tuple[MetricName, ...] = getattr(attack, "metrics", ())
    return metrics
