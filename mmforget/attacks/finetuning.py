"""The model is trained for a moment on rows that have nothing to do with the answer, and looked into again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from mmforget.attacks.base import Retraining
from mmforget.attacks.lens import Variant
from mmforget.errors import AttackRefused
from mmforget.methods.arguments import require_positive
from mmforget.methods.material import Material
from mmforget.training.settings import TrainSettings

PUBLISHED_LR, CLEAN_LR = 9e-6, 1e-4


@dataclass(frozen=True)
class Finetuning:
    """What an artifact trains goes on training on rows to keep, or a fresh LoRA where nothing does; then `look`.

    Source: "finetuning attack" of UnLOK-VQA (arXiv 2505.01456), released code: 10 steps at 9e-6; its helper, which says
    what is trained, and the rows are not released.

    Args:
        steps: weight updates.
        lr: learning rate; None: 9e-6 as published for `faithful`, 1e-4 for `clean`, since adapters learn nothing at the
            rate of whole weights.
        batch_size: rows an update.
        look: the attack that is then made on the trained model.
        variant, budget: of that attack.
    """

    steps: int = 10
    lr: float | None = None
    batch_size: int = 4
    look: Literal["logit_lens", "probability_delta", "second_difference"] = "logit_lens"
    variant: Variant = "clean"
    budget: int = 20

    access: ClassVar[Literal["weights"]] = "weights"
    modality: ClassVar[Literal["any"]] = "any"
    label: ClassVar[str] = "fine-tuning"
    kinds: ClassVar[tuple[str, ...]] = ("gen",)
    sets: ClassVar[Literal["forget"]] = "forget"
    cost: ClassVar[str] = "a short training, and what the attack behind it takes"

    def __post_init__(self) -> None:
        require_positive(steps=self.steps, batch_size=self.batch_size, budget=self.budget)
        require_positive(lr=1.0 if self.lr is None else self.lr)

    @property
    def then(self) -> str:
        return f"{self.look}(variant={self.variant},budget={self.budget})"

    def training(self, material: Material) -> Retraining:
        """Rows to keep, as they come, at a constant rate. Raises UserError where there are none."""
        from mmforget.model.lora import LoraSettings

        if not material.retain:
            raise AttackRefused("finetuning", "trains on rows to keep, and the benchmark has none in this data")
        lr = self.lr if self.lr is not None else PUBLISHED_LR if self.variant == "faithful" else CLEAN_LR
        settings = TrainSettings(
            lr=lr, max_steps=self.steps, batch_size=self.batch_size, schedule="constant", weight_decay=0.0,
            order="file", train_projector=False, lora=LoraSettings(),
        )  # fmt: skip
        return Retraining(material.as_asked(material.retain[: self.steps * self.batch_size]), settings)


ATTACK = Finetuning
