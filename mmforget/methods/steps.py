"""One micro-batch as a method's loss sees it: what it asked for, and nothing else. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from mmforget.errors import PluginError
from mmforget.methods.requests import (
    Comparison,
    Divergence,
    Hidden,
    Influence,
    Lens,
    LogitStats,
    Reference,
    Request,
    Scores,
    TokenStats,
    WordStats,
)
from mmforget.types import Scored

if TYPE_CHECKING:
    from torch import Tensor


class Drift(NamedTuple):
    """How far the distributions of B answers are from those before training.

    Attributes:
        token_kl: float32 [B, T], KL(before || now) in nats, 0 where padded; differentiable. It is summed over the
            vocabulary but for the source's silent words.
        mask: bool [B, T], the positions that count.
        num_vocabulary: tokens of the vocabulary that it is summed over.
    """

    token_kl: Tensor
    mask: Tensor
    num_vocabulary: int


class AtLayers(NamedTuple):
    """A number of every token of B answers at L layers.

    Attributes:
        values: float32 [L, B, T], 0 where padded, from the first layer that is read to the last; differentiable.
        mask: bool [B, T], the positions that count.
    """

    values: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Step:
    """What a loss reads: `step[request]` for each of the method's `requests`.

    Rows of all sources but an `epoch` one go with the rows to forget, in the same order; of `retain` there may be more
    or fewer of them.

    Attributes:
        found: by request.
        update: number of the weight update, 0 the first.
        num_updates: how many are planned.
        state: what `start` of the method gave, by name; a loss may put other tensors in the place of these.
    """

    found: Mapping[Request, Any]
    update: int = 0
    num_updates: int = 1
    state: MutableMapping[str, Tensor] = field(default_factory=dict)

    @overload
    def __getitem__(self, request: Scores) -> Scored: ...
    @overload
    def __getitem__(self, request: Divergence) -> Drift: ...
    @overload
    def __getitem__(self, request: Lens) -> AtLayers: ...
    @overload
    def __getitem__(
        self, request: Reference | TokenStats | Comparison | LogitStats | WordStats | Hidden | Influence
    ) -> Tensor: ...
    def __getitem__(self, request: Request) -> Any:
        """Raises PluginError for what was not asked for."""
        if request not in self.found:
            raise PluginError(f"a method's loss reads what its `requests` do not name; add {request}")
        return self.found[request]


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """What a method with state is told before the first update.

    Attributes:
        num_updates: how many are planned.
        seed: of the training; whatever is drawn has to follow from it.
        hidden_size: H of the language model.
        num_layers: its decoder layers.
        updates_per_epoch: updates in which every row to forget has its turn once.
    """

    num_updates: int
    seed: int
    hidden_size: int
    num_layers: int
    updates_per_epoch: int = 1
