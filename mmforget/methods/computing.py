"""What a wrapper is handed to compute an update's gradients with, as often and in what parts it wants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor

Part = Literal["forget", "keep"]
"""What a loss is differentiated through: its rows to forget, with refusals and whatever a method wrote, or its rows to
keep, which are those of `retain`, of `benign` and of sources that say so (`Source.is_kept`). Of a sum of terms, each
about rows of one kind, these are the gradients of the terms; of any loss they add up to its gradient."""


class Compute(Protocol):
    """Computes the gradients of one update, all of its micro-batches in all processes that take part.

    What is drawn at random is the same each time. The first call is the one that counts: its loss is logged, and what a
    loss keeps in its state is kept as that call left it. What is not differentiated of a part are the values that the
    first call found, so that it costs a pass without gradients once an update.

    Attributes:
        update: number of the update, 0 the first; `num_updates` are planned.
        seed: for what the wrapper draws itself; another one each update, the same in all processes.
        state: the wrapper's own tensors by name, from one update to the next; checkpoints keep them.
    """

    @property
    def update(self) -> int: ...
    @property
    def num_updates(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def state(self) -> MutableMapping[str, Tensor]: ...

    def __call__(self, part: Part | None = None) -> Tensor:
        """Adds the gradients at the present weights to those that are there, and returns the loss, detached.

        Among several processes these are this one's share of the gradients, which are summed when the update ends,
        unless weights are divided among them.
        """


class Wraps(Protocol):
    """See `methods.base.Wrapper`."""

    def gradients(self, compute: Compute, *, weights: Mapping[str, Tensor]) -> Tensor: ...


class Scoped(MutableMapping[str, Any]):
    """The entries of another mapping whose names begin so, without that beginning."""

    def __init__(self, whole: MutableMapping[str, Any], prefix: str) -> None:
        self.whole, self.prefix = whole, prefix

    def __getitem__(self, name: str) -> Any:
        return self.whole[self.prefix + name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.whole[self.prefix + name] = value

    def __delitem__(self, name: str) -> None:
        del self.whole[self.prefix + name]

    def __iter__(self) -> Iterator[str]:
        return iter([name.removeprefix(self.prefix) for name in self.whole if name.startswith(self.prefix)])

    def __len__(self) -> int:
        return len(list(iter(self)))


class _Around:
    """Of the same update as what it computes with."""

    compute: Compute

    @property
    def update(self) -> int:
        return self.compute.update

    @property
    def num_updates(self) -> int:
        return self.compute.num_updates

    @property
    def seed(self) -> int:
        return self.compute.seed


@dataclass(frozen=True)
class Within(_Around):
    """As a wrapper changes it, for the wrapper around that one.

    Attributes:
        name: of the wrapper, which its state is kept under.
    """

    wrapper: Wraps
    compute: Compute
    weights: Mapping[str, Tensor]
    name: str

    @property
    def state(self) -> MutableMapping[str, Tensor]:
        return self.compute.state

    def __call__(self, part: Part | None = None) -> Tensor:
        return self.wrapper.gradients(_Limited(self.compute, part, self.name), weights=self.weights)


@dataclass(frozen=True)
class _Limited(_Around):
    """The same, of no more than one part, with the state of one wrapper."""

    compute: Compute
    only: Part | None
    name: str

    @property
    def state(self) -> MutableMapping[str, Tensor]:
        return Scoped(self.compute.state, f"{self.name}.")

    def __call__(self, part: Part | None = None) -> Tensor:
        if part is None or self.only is None or part == self.only:
            return self.compute(part or self.only)
        import torch

        return torch.zeros(())
