"""Which rows each micro-batch holds, as positions: the Trainer's data set. No tensors and no images pass through it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from torch.utils.data import Dataset

from mmforget.training import draws
from mmforget.training.settings import TrainSettings


@dataclass(frozen=True)
class Batch:
    """One micro-batch, as positions.

    Attributes:
        rows: in the set that trains (stage one) or is forgotten.
        retain: partners in the retain set, one a row; empty where there is no retain set.
        refusals: one a row, in the list of refusals; empty where there is none.
        benign: partners in the benign set, one a row; empty where there is none.
    """

    rows: tuple[int, ...]
    retain: tuple[int, ...] = ()
    refusals: tuple[int, ...] = ()
    benign: tuple[int, ...] = ()


@dataclass(frozen=True)
class BenignPartners:
    """Which benign row goes with each row to forget.

    Attributes:
        num_rows: of the benign set.
        of: the partner of each row to forget; None draws one anew every epoch.
    """

    num_rows: int
    of: tuple[int, ...] | None = None


@dataclass(frozen=True)
class _Epoch:
    rows: list[int]
    retain: list[int]
    refusals: list[int]
    benign: list[int]


class Batches(Dataset[Batch]):
    """The micro-batches of one epoch; `epoch` is set before each. Item k is a pure function of (seed, epoch, k).

    A row's retain partner is (position + uniform draw) mod num_retain, so uniform. In the order `subjects` the partners
    of a batch are neighbours in a shuffled order of retain subjects, from a uniform start: uniform too, each by itself,
    but questions of one subject come together.
    """

    def __init__(
        self,
        subjects: Sequence[str],
        *,
        settings: TrainSettings,
        retain_subjects: Sequence[str] = (),
        num_refusals: int = 0,
        benign: BenignPartners | None = None,
    ) -> None:
        self.subjects, self.retain_subjects = tuple(subjects), tuple(retain_subjects)
        self.settings, self.num_refusals, self.benign = settings, num_refusals, benign
        self.epoch = 0
        self._plan = lru_cache(maxsize=1)(self._make_plan)

    def __len__(self) -> int:
        return math.ceil(len(self.subjects) / self.settings.batch_size)

    def __getitem__(self, index: int) -> Batch:
        plan, size = self._plan(self.epoch), self.settings.batch_size
        part = slice(index * size, (index + 1) * size)
        return Batch(*(tuple(column[part]) for column in (plan.rows, plan.retain, plan.refusals, plan.benign)))

    def _make_plan(self, epoch: int) -> _Epoch:
        settings, num_rows = self.settings, len(self.subjects)
        rows = draws.row_order(self.subjects, order=settings.order, seed=settings.seed, epoch=epoch)
        refusals = []
        if self.num_refusals:
            choices = draws.refusal_choices(num_rows, num_refusals=self.num_refusals, seed=settings.seed, epoch=epoch)
            refusals = [choices[row] for row in rows]
        retain = self._partners(rows, epoch=epoch) if self.retain_subjects else []
        return _Epoch(rows, retain, refusals, self._benign(rows, epoch=epoch))

    def _benign(self, rows: Sequence[int], *, epoch: int) -> list[int]:
        if self.benign is None:
            return []
        of: Sequence[int] | None = self.benign.of
        if of is None:
            of = draws.benign_choices(
                len(self.subjects), num_benign=self.benign.num_rows, seed=self.settings.seed, epoch=epoch
            )
        return [of[row] for row in rows]

    def _partners(self, rows: Sequence[int], *, epoch: int) -> list[int]:
        settings, num_retain = self.settings, len(self.retain_subjects)
        offsets = draws.retain_offsets(len(rows), num_retain=num_retain, seed=settings.seed, epoch=epoch)
        if settings.order != "subjects":
            return [(row + offsets[row]) % num_retain for row in rows]
        order = draws.row_order(
            self.retain_subjects, order="subjects", seed=settings.seed, epoch=epoch, stream=draws.RETAIN_ORDER
        )
        starts = [offsets[k - k % settings.batch_size] for k in range(len(rows))]
        return [order[(start + k % settings.batch_size) % num_retain] for k, start in enumerate(starts)]
