"""One vector on every hidden state of a layer, searched by gradients on some subjects and tried on the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mmforget.attacks.lens import require_layers
from mmforget.attacks.shift_search import ShiftSearch

if TYPE_CHECKING:
    from mmforget.lm.whitebox import WhiteBox


@dataclass(frozen=True)
class LatentPerturbation(ShiftSearch):
    """The vector is added to what a decoder layer puts out at every token, pictures' and written ones' included.

    Args:
        layer: its number, 1 the first, as Hugging Face numbers hidden states; none: half-way up.
        radius, rows: as of `ShiftSearch`.
    """

    layer: int | None = None

    label: ClassVar[str] = "latent perturbation"

    def in_layer(self, box: WhiteBox) -> int:
        layer = max(1, box.num_layers // 2) if self.layer is None else self.layer
        require_layers("latent_perturbation", [layer], num_layers=box.num_layers)
        return layer


ATTACK = LatentPerturbation
