"""One vector on every hidden state of a layer, searched by gradients on some subjects and tried on the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mmforget.attacks.shift_search import ShiftSearch
from mmforget.errors import UserError
from mmforget.methods.arguments import require_positive

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

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(layer=1 if self.layer is None else self.layer)

    def in_layer(self, box: WhiteBox) -> int:
        layer = max(1, box.num_layers // 2) if self.layer is None else self.layer
        if not 1 <= layer <= box.num_layers:
            raise UserError(
                f"attack 'latent_perturbation': layer {layer} is asked about, and the model has 1 to {box.num_layers}"
            )
        return layer


ATTACK = LatentPerturbation
