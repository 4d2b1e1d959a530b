"""The adapter is switched off, or scaled down: what a model forgot by an adapter alone is still below it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from mmforget.errors import UserError

if TYPE_CHECKING:
    from mmforget.model.altering import Altered, Linear


@dataclass(frozen=True)
class AdapterRemoval:
    """The plain questions to the model with a part of its adapter left; each part an attempt, the last one none of it.

    A model without an adapter, as target and retain models mostly are, is asked as it is. Whoever is given merged
    weights cannot make this attack: it shows what giving away the adapter beside its base gives away. What an adapter
    trains in full beside linear layers of the decoder stays.

    Args:
        left: parts of the adapter's change, falling, below 1 and at least 0.
    """

    left: tuple[float, ...] = (0.75, 0.5, 0.25, 0.0)

    access: ClassVar[Literal["weights"]] = "weights"
    modality: ClassVar[Literal["any"]] = "any"
    label: ClassVar[str] = "adapter removal"
    kinds: ClassVar[tuple[str, ...]] = ("gen",)
    sets: ClassVar[Literal["forget"]] = "forget"
    cost: ClassVar[str] = "one answer more to every question for each part"

    def __post_init__(self) -> None:
        is_falling = list(self.left) == sorted({*self.left}, reverse=True)
        if not self.left or not is_falling or self.left[0] >= 1 or self.left[-1] < 0:
            raise UserError(f"left={list(self.left)} is not allowed; give falling parts below 1, the last at least 0")

    @property
    def budget(self) -> int:
        return len(self.left)

    def alter(self, linear: Linear, *, attempt: int) -> Altered:
        from mmforget.model.altering import Altered

        weight, before, left = linear.module.weight.detach(), linear.before, self.left[attempt]
        if before is None:
            return Altered(weight=weight, counts={"layers": 1, "layers_adapted": 0})
        before = before.to(weight.device)
        made = before if left == 0 else (before.float() + left * (weight.float() - before.float())).to(weight.dtype)
        return Altered(weight=made, counts={"layers": 1, "layers_adapted": int(not before.equal(weight))})


ATTACK = AdapterRemoval
