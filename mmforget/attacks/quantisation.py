"""The model, its adapter merged, in 4 or 8 bit: small changes of weights round away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from mmforget.model.altering import Altered, Linear


@dataclass(frozen=True)
class Quantisation:
    """One attempt: the plain questions to the model as bitsandbytes packs it, all linear layers of the decoder.

    Of a model with an adapter it counts the codes (`codes`), and those that are others than in the model without the
    adapter, packed alike (`codes_changed`); of one without there is nothing to compare with.

    Source: arXiv 2410.16454, released code: bitsandbytes' 4 bit without packed scales, of which FP4 is the default.

    Args:
        kind: `nf4`, `fp4` or `int8`; the last rounds weights alone, and no activations.
    """

    kind: Literal["nf4", "fp4", "int8"] = "nf4"

    access: ClassVar[Literal["weights"]] = "weights"
    modality: ClassVar[Literal["any"]] = "any"
    label: ClassVar[str] = "quantisation"
    kinds: ClassVar[tuple[str, ...]] = ("gen",)
    sets: ClassVar[Literal["forget"]] = "forget"
    budget: ClassVar[int] = 1
    cost: ClassVar[str] = "one answer more to every question"

    def alter(self, linear: Linear, *, attempt: int) -> Altered:
        from mmforget.model.altering import Altered
        from mmforget.model.packing_layers import packed

        made = packed(linear.module, kind=self.kind)
        if linear.before is None:
            return Altered(layer=made.layer)
        codes = packed(linear.module, kind=self.kind, weight=linear.before).codes
        changed = int((codes != made.codes).sum())
        return Altered(layer=made.layer, counts={"codes": codes.numel(), "codes_changed": changed})


ATTACK = Quantisation
