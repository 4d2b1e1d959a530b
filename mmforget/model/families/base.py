"""What the engine needs to know about an architecture: where its parts are and how tokens and image features meet.

A family is a module with these functions; `families.find_family` picks it from a configuration.
Shapes: R rows, L tokens a row, M image tokens in the rows, N images, I image tokens an image, H hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

    from mmforget.model.attention import Rows


class Tokens(NamedTuple):
    """One padded batch of rows, ready for a forward pass.

    Attributes:
        ids: int64 [R, L].
        positions: int64 [R, L] or, for M-RoPE, [3, R, L], position of each token in its own sequence; 0 where padded.
        attention: bool [R, L], True where a token is; None where nothing is padded.
        rows: what each token sees where rows share tokens (then R is 1); None where it is all before it.
        images: projected image features [M, H], or None.
        image_at: int64 [M], the place of each in the rows, as an index into R * L.
    """

    ids: Tensor
    positions: Tensor
    attention: Tensor | None = None
    rows: Rows | None = None
    images: Tensor | None = None
    image_at: Tensor | None = None


class Family(Protocol):
    """The functions of a family module. `model` is always the bare Hugging Face model, without PEFT around it."""

    NAME: str
    LANGUAGE_TARGETS: str
    """Regular expression, matched in full, of the linear layers that LoRA adapts: never in the vision tower."""
    KEEP_PRECISE: tuple[str, ...]
    """Modules that quantisation leaves alone, as transformers' `llm_int8_skip_modules` patterns."""

    def check_config(self, config: Any) -> None:
        """Raises UserError for a configuration of this type that is not supported."""

    def image_token(self, config: Any) -> int | None:
        """Token id that stands for one image feature, None for text-only models."""

    def num_image_tokens(self, config: Any, *, size: tuple[int, int]) -> int:
        """Image tokens of an image of `size` (width, height) in pixels."""

    def preprocess(self, processor: Any, images: Sequence[Image]) -> Tensor:
        """Pixel values of N images, float32 [N, ...], on the CPU."""

    def tower(self, model: Any) -> nn.Module | None:
        """The vision tower."""

    def projector(self, model: Any) -> nn.Module | None:
        """What maps tower features to the language model's embeddings."""

    def language_parts(self, model: Any) -> list[nn.Module]:
        """Everything that is neither vision tower nor projector."""

    def tower_features(self, model: Any, pixels: Tensor) -> Tensor:
        """Features of the vision tower, before the projector, [N, I, features]."""

    def project(self, model: Any, features: Tensor) -> Tensor:
        """Tower features mapped to the language model's embeddings, [N, I, H]."""

    def packs(self, config: Any) -> bool:
        """Whether sequences that share a row, see `attention.py`, give the same numbers as one sequence a row."""

    def hidden(self, model: Any, tokens: Tokens) -> Tensor:
        """What `head` turns into logits, [R, L, H]."""

    def head(self, model: Any, hidden: Tensor) -> Tensor:
        """Logits [..., V] in the model's own dtype."""

    def embed(self, model: Any, tokens: Tokens) -> Tensor | None:
        """Input embeddings [R, L, H] with the image features in place; None where the model reads token ids itself."""
