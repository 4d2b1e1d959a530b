"""Noise on every weight: the control for attacks that change weights with a purpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from mmforget.attacks.drawing import drawn_by
from mmforget.attacks.shares import require_rising
from mmforget.methods.arguments import require_not_negative

if TYPE_CHECKING:
    from mmforget.model.altering import Altered, Linear


@dataclass(frozen=True)
class WeightNoise:
    """The plain questions to the model with normal noise on every linear layer of the decoder; each amount an attempt.

    Target, retain and unlearned model get the same draws. What noise brings back lay under a change that was fragile.

    Args:
        amounts: standard deviation of the noise in that of the layer's weights, rising.
        seed: draws the noise, with the layer's name.
    """

    amounts: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    seed: int = 0

    access: ClassVar[Literal["weights"]] = "weights"
    modality: ClassVar[Literal["any"]] = "any"
    label: ClassVar[str] = "weight noise"
    kinds: ClassVar[tuple[str, ...]] = ("gen",)
    sets: ClassVar[Literal["forget"]] = "forget"
    cost: ClassVar[str] = "one answer more to every question for each amount"

    def __post_init__(self) -> None:
        require_rising("amounts", self.amounts)
        require_not_negative(seed=self.seed)

    @property
    def budget(self) -> int:
        return len(self.amounts)

    def alter(self, linear: Linear, *, attempt: int) -> Altered:
        import torch

        from mmforget.model.altering import Altered

        weight = linear.module.weight.detach()
        drawn = drawn_by("weight noise", self.seed, linear.name).standard_normal(tuple(weight.shape), dtype="float32")
        noise = torch.from_numpy(drawn).to(weight.device) * (self.amounts[attempt] * weight.float().std())
        return Altered(weight=(weight.float() + noise).to(weight.dtype))


ATTACK = WeightNoise
