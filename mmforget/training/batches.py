"""Which rows each micro-batch holds, as positions: the Trainer's data set. No tensors and no images pass through it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from torch.utils.data import Dataset

from mmforget.training import draws
from mmforget.training.settings import TrainSettings


@dataclass(frozen=True)
class Batch:
    """One micro-batch, as positions.

    Attributes:
        rows: in the set that epochs run over: what is learned in stage one, what is forgotten, or what a method wrote.
        partners: by source, positions among its rows: one for each of `rows`, of `retain` perhaps more or fewer.
    """

    rows: tuple[int, ...]
    partners: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


class Partners(Protocol):
    """How a source's rows are drawn."""

    def drawn(self, rows: Sequence[int], *, settings: TrainSettings, epoch: int) -> list[int]:
        """A partner for each of the epoch's rows, in their order."""


@dataclass(frozen=True)
class Fixed:
    """Each row has one partner: `of[row]`."""

    of: tuple[int, ...]

    def drawn(self, rows: Sequence[int], *, settings: TrainSettings, epoch: int) -> list[int]:
        return [self.of[row] for row in rows]


@dataclass(frozen=True)
class Drawn:
    """Any of `num_rows`, anew every epoch. `stream` keeps the draws of several sources apart."""

    num_rows: int
    stream: tuple[int, ...]

    def drawn(self, rows: Sequence[int], *, settings: TrainSettings, epoch: int) -> list[int]:
        found = draws.choices(len(rows), num=self.num_rows, seed=settings.seed, stream=self.stream, epoch=epoch)
        return [found[row] for row in rows]


@dataclass(frozen=True)
class Retained:
    """Partners from the retain set, of which `subjects` has the subject of every row.

    A partner is (position + uniform draw) mod num_retain, so uniform. In the order `subjects` the partners of a batch
    are neighbours in a shuffled order of retain subjects, from a uniform start: uniform too, each by itself, but
    questions of one subject come together. With `retain_batch_size` there are that many a full batch.
    """

    subjects: tuple[str, ...]

    def drawn(self, rows: Sequence[int], *, settings: TrainSettings, epoch: int) -> list[int]:
        size, num_retain = settings.num_retain(settings.batch_size), len(self.subjects)
        num_full, rest = divmod(len(rows), settings.batch_size)
        num = num_full * size + settings.num_retain(rest)
        offsets = draws.retain_offsets(num, num_retain=num_retain, seed=settings.seed, epoch=epoch)
        if settings.order != "subjects":
            places = rows if num == len(rows) else range(num)
            return [(place + offsets[place]) % num_retain for place in places]
        order = draws.row_order(
            self.subjects, order="subjects", seed=settings.seed, epoch=epoch, stream=draws.RETAIN_ORDER
        )
        starts = [offsets[k - k % size] for k in range(num)]
        return [order[(start + k % size) % num_retain] for k, start in enumerate(starts)]


class Batches(Dataset[Batch]):
    """The micro-batches of one epoch; `epoch` is set before each. Item k is a pure function of (seed, epoch, k)."""

    def __init__(
        self, subjects: Sequence[str], *, settings: TrainSettings, partners: Mapping[str, Partners] | None = None
    ) -> None:
        self.subjects, self.settings, self.partners = tuple(subjects), settings, dict(partners or {})
        self.epoch = 0
        self._drawn = lru_cache(maxsize=1)(self._draw)

    def __len__(self) -> int:
        return math.ceil(len(self.subjects) / self.settings.batch_size)

    def __getitem__(self, index: int) -> Batch:
        rows, partners = self._drawn(self.epoch)
        size = self.settings.batch_size
        found = {name: self._part(column, name=name, index=index) for name, column in partners.items()}
        return Batch(tuple(rows[index * size : (index + 1) * size]), found)

    def _part(self, column: Sequence[int], *, name: str, index: int) -> tuple[int, ...]:
        settings = self.settings
        is_retained = isinstance(self.partners[name], Retained)
        size = settings.num_retain(settings.batch_size) if is_retained else settings.batch_size
        return tuple(column[index * size : (index + 1) * size])

    def _draw(self, epoch: int) -> tuple[list[int], dict[str, list[int]]]:
        settings = self.settings
        rows = draws.row_order(self.subjects, order=settings.order, seed=settings.seed, epoch=epoch)
        drawn = {name: one.drawn(rows, settings=settings, epoch=epoch) for name, one in self.partners.items()}
        return rows, drawn
