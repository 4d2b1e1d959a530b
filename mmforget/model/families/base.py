"""What the engine needs to know about an architecture: where its parts are and how tokens and image features meet.

A family is a module with these functions; `families.find_family` picks it from a configuration.
Shapes: R rows, L tokens a row, M image tokens in the rows, I image tokens of an image, H hidden size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

    from mmforget.model.attention import RowAttention

Ints = NDArray[np.int64]
Size = tuple[int, int]
"""Width and height of an image in pixels, as PIL has them."""


class Tokens(NamedTuple):
    """One batch of rows, ready for a forward pass.

    Attributes:
        ids: int64 [R, L].
        positions: int64 [R, L] or, for M-RoPE, [3, R, L], position of each token in its own sequence; 0 where padded.
        attention: bool [R, L], True where a token is; None where nothing is padded.
        rows: what each token sees where rows share tokens (then R is 1); None where it is all before it.
        images: projected image features [M, H], or None.
        image_at: int64 [M], the place of each in the rows, as an index into R * L.
        pictures: for families that leave images to the model's own forward: for each row what it takes besides ids.
    """

    ids: Tensor
    positions: Tensor
    attention: Tensor | None = None
    rows: RowAttention | None = None
    images: Tensor | None = None
    image_at: Tensor | None = None
    pictures: Sequence[Mapping[str, Tensor]] | None = None


class Family(Protocol):
    """The functions of a family module. `model` is always the bare Hugging Face model, without PEFT around it."""

    NAME: str
    LANGUAGE_TARGETS: str
    """Regular expression, matched in full, for the linear layers that LoRA adapts, all of the language model's but the
    head; where it matches fewer they are named one by one."""
    KEEP_PRECISE: tuple[str, ...]
    """Modules that quantisation leaves alone, as transformers' `llm_int8_skip_modules` patterns."""
    OWN_FORWARD: bool
    """Whether the model's own forward is run on everything, images too; then `hidden` gives logits."""

    def check_config(self, config: Any) -> None:
        """Raises UserError for a configuration of this type that is not supported."""

    def image_token(self, config: Any) -> int | None:
        """Token id that stands for one image feature, None for text-only models."""

    def num_image_tokens(self, config: Any, processor: Any, *, size: Size) -> int:
        """Image tokens of an image of this size. Raises ValueError for a size that the processor does not take."""

    def grid_positions(
        self, config: Any, processor: Any, *, num_tokens: int, image_at: Sequence[int], sizes: Sequence[Size]
    ) -> Ints | None:
        """Positions [3, num_tokens] in time, height and width; None where plain numbering is right.

        Args:
            image_at: where the image tokens of all images are, in order.
            sizes: the size of each image.
        """

    def preprocess(self, processor: Any, image: Image) -> dict[str, Tensor]:
        """What the vision tower takes for one image, on the CPU: `pixel_values` and perhaps more."""

    def tower_parts(self, model: Any) -> list[nn.Module]:
        """The modules that make up the vision tower, without the projector; none for text-only models."""

    def projector(self, model: Any) -> nn.Module | None:
        """What maps tower features to the language model's embeddings."""

    def language_parts(self, model: Any) -> list[nn.Module]:
        """Everything that is neither vision tower nor projector."""

    def tower_features(self, model: Any, pixels: Mapping[str, Tensor]) -> Tensor:
        """Features of one image, before the projector: [..., I or a multiple of it, features]."""

    def project(self, model: Any, features: Sequence[Tensor], *, sizes: Sequence[Size]) -> list[Tensor]:
        """Tower features of several images mapped to the language model's embeddings, each [I, H]."""

    def packs(self, config: Any) -> bool | None:
        """Whether sequences that share a row, see `attention.py`, give the same numbers as one sequence a row.

        None where only a check on the model itself can tell, see `selfcheck.py`.
        """

    def hidden(self, model: Any, tokens: Tokens) -> Tensor:
        """What `head` turns into logits, [R, L, H]."""

    def head(self, model: Any, hidden: Tensor) -> Tensor:
        """Logits [..., V] in the model's own dtype."""

    def embed(self, model: Any, tokens: Tokens) -> Tensor | None:
        """Input embeddings [R, L, H] with the image features in place; None where the model reads token ids itself."""
