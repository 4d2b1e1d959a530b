"""The model learns some of what it forgot again, or something else, and is asked about the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Literal

from mmforget.attacks.base import Retraining
from mmforget.attacks.harmless import sentences, sums
from mmforget.attacks.shares import doubling
from mmforget.errors import AttackRefused, UserError
from mmforget.methods.arguments import require_not_negative, require_positive
from mmforget.methods.material import Material
from mmforget.training.settings import TrainSettings
from mmforget.types import Example

LORA_LR, FULL_LR = 1e-4, 2e-5
WIDTH = 1024
"""Models of which the rates are known are wider."""


@dataclass(frozen=True)
class Relearning:
    """Trains on a few rows and asks the plain questions about the others after 1, 2, 4, ... updates; each an attempt.

    The area over the attempts is the one under the recovery curve, over the logarithm of the updates. The adapter of
    the model is merged first, so that target, retain and unlearned model are trained alike. Rows that are trained on
    are not asked about, unless all are: then it is how much sooner the model learns them than one that never saw them.

    Source: relearning as in WMDP and MUSE (batches of 4); rates are those of model tampering's grid.

    Args:
        on: `forget`, rows that were to be forgotten; `related`, rows to keep about the same subjects; `retain`, rows to
            keep about others; `benign`, plain sentences, in place of the encyclopaedia that others take; `unrelated`,
            sums of small numbers, which have nothing to do with any benchmark.
        share: of the rows to forget, above 0 and at most 1; of the others as many are taken as of those.
        rows: so many, in place of a share; at most as many as there are.
        steps: the most updates; asked is after each power of two below, and after the last.
        full: trains the language model itself; else LoRA.
        lr: learning rate; None: 1e-4 for LoRA, 2e-5 for the model itself, both times 1024 / H where the hidden size H
            is below 1024, as that of a micro model is.
        batch_size: rows an update.
        r, alpha: of LoRA.
        seed: draws the rows, and of the training.
    """

    on: Literal["forget", "related", "retain", "benign", "unrelated"] = "forget"
    share: float = 0.2
    rows: int | None = None
    steps: int = 128
    full: bool = False
    lr: float | None = None
    batch_size: int = 4
    r: int = 16
    alpha: float = 32
    seed: int = 0

    access: ClassVar[Literal["weights"]] = "weights"
    modality: ClassVar[Literal["any"]] = "any"
    label: ClassVar[str] = "relearning"
    kinds: ClassVar[tuple[str, ...]] = ("gen",)
    sets: ClassVar[Literal["forget"]] = "forget"
    then: ClassVar[None] = None
    cost: ClassVar[str] = "a training of so many updates, and one answer more to every question after each power of two"

    def __post_init__(self) -> None:
        require_positive(steps=self.steps, batch_size=self.batch_size, r=self.r, alpha=self.alpha)
        require_positive(lr=1.0 if self.lr is None else self.lr, rows=1 if self.rows is None else self.rows)
        require_positive(share=self.share)
        require_not_negative(seed=self.seed)
        if self.share > 1:
            raise UserError(f"share={self.share} is more than all rows; give a share above 0 and at most 1")

    @property
    def at(self) -> tuple[int, ...]:
        return doubling(self.steps)

    @property
    def budget(self) -> int:
        return len(self.at)

    def training(self, material: Material) -> Retraining:
        """Raises UserError where there are not so many rows."""
        from mmforget.model.lora import LoraSettings

        found = self._rows(material)
        num = self._num(material, of=found)
        drawn = sorted(Random(f"relearning {self.seed}").sample(range(len(found)), num))
        settings = TrainSettings(
            lr=self.lr or (FULL_LR if self.full else LORA_LR), max_steps=self.steps, batch_size=self.batch_size,
            schedule="constant", weight_decay=0.0, order="rows", seed=self.seed, train_projector=False,
            lora=None if self.full else LoraSettings(r=self.r, alpha=self.alpha),
        )  # fmt: skip
        is_all = self.on == "forget" and num == len(found)
        rows, width = material.as_asked([found[place] for place in drawn]), WIDTH if self.lr is None else None
        return Retraining(rows, settings, asks_all=is_all, width=width)

    def _rows(self, material: Material) -> Sequence[Example]:
        if self.on in ("benign", "unrelated"):
            return sentences() if self.on == "benign" else sums()
        if self.on == "forget":
            return material.forget
        own = {row.subject for row in material.forget}
        found = [row for row in material.retain if (row.subject in own) == (self.on == "related")]
        if not found:
            what = "the same subjects" if self.on == "related" else "other subjects"
            raise AttackRefused("relearning", f"on={self.on} needs rows to keep about {what}, and there are none")
        return found

    def _num(self, material: Material, *, of: Sequence[Example]) -> int:
        """How many rows are drawn."""
        if self.rows is not None and self.rows > len(of):
            raise AttackRefused(
                "relearning",
                f"rows={self.rows} are more than the {len(of)} rows on={self.on} that there are; give at most "
                f"rows={len(of)}",
            )
        return self.rows or min(len(of), max(1, round(self.share * len(material.forget))))


ATTACK = Relearning
