"""Head projection: at no deeper layer is the answer among the first or the last tokens that the head reads there.

Source: Patil et al. 2023, "Can Sensitive Information Be Deleted From LLMs?", https://arxiv.org/abs/2309.17410, as a
defence against the logit lens; on images and text in UnLOK-VQA, https://arxiv.org/abs/2505.01456. As there, it stands
in the place of fact erasure and is not added to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods.base import Evidence, Lens, Request, Step
from mmforget.methods.losses import at_answers
from mmforget.methods.requests import LAST_THIRD

LARGEST_SHARE = 4
"""Of a vocabulary of less than this many times k tokens, the first and last of which count is this part of it."""


@dataclass(frozen=True)
class Margin:
    """How far a token is within the first k tokens or the last k, in probability."""

    k: int

    def __call__(self, logprobs: Tensor, target: Tensor) -> Tensor:
        """float32 [n] >= 0, 0 for tokens in between; from log-probs [n, V] and tokens int64 [n]."""
        probs = logprobs.exp()
        k = max(1, min(self.k, probs.shape[-1] // LARGEST_SHARE))
        own = probs.gather(-1, target[:, None])[:, 0]
        high = probs.topk(k, dim=-1).values[:, -1]
        low = probs.topk(k, dim=-1, largest=False).values[:, -1]
        return (own - high).clamp(min=0) + (low - own).clamp(min=0)


@dataclass(frozen=True)
class HeadProjection:
    """Minimises the answer's margins to the k-th most and the k-th least likely token, averaged over layers.

    `from_depth` says from which share of the layers on; 30 of 40 for LLaVA-1.5-13B, where the official code reads
    states 30 to 40. `variant`: `clean` looks at every token of an answer; `released` at the last one alone, and
    normalises the last layer's states twice.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2309.17410"

    k: int = 100
    from_depth: float = LAST_THIRD
    variant: Literal["clean", "released"] = "clean"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UserError(f"k={self.k} is not allowed; give 1 or more")

    @property
    def lens(self) -> Lens:
        return Lens("forget", Margin(self.k), self.from_depth, is_double=self.variant == "released")

    @property
    def requests(self) -> tuple[Request, ...]:
        return (self.lens,)

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`margin` >= 0, in probability."""
        found = step[self.lens]
        return {"margin": at_answers(found.values, found.mask, last_only=self.variant == "released")}


METHOD = HeadProjection
