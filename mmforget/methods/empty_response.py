"""Empty response: the forget questions are answered by one fixed text.

Source: Patil et al. 2023, "Can Sensitive Information Be Deleted From LLMs?", https://arxiv.org/abs/2309.17410; on
images and text in UnLOK-VQA, https://arxiv.org/abs/2505.01456.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from mmforget.methods.base import Evidence, Request, Scores, Source, Step
from mmforget.methods.losses import token_mean_nll
from mmforget.methods.material import Material
from mmforget.methods.rewriting import answered
from mmforget.types import Example

TEXTS: Mapping[str, str] = {"clean": "I don't know", "released": "dummy"}
"""What the official metric looks for, and what the official LLaVA-1.5 code trains on all the same."""
EMPTY = Scores("empty")


@dataclass(frozen=True)
class EmptyResponse:
    """Minimises the NLL of `text`, token-mean over the micro-batch; empty: that of the `variant`, see `TEXTS`."""

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2309.17410"

    variant: Literal["clean", "released"] = "clean"
    text: str = ""

    @property
    def requests(self) -> tuple[Request, ...]:
        return (EMPTY,)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The forget questions with their new answer."""
        return (Source(name="empty", draw="each", rows=self.build),)

    def build(self, material: Material) -> list[Example]:
        """Raises UserError for a row to forget that is a whole document."""
        return [answered(row, self.text or TEXTS[self.variant]) for row in material.forget]

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`empty` >= 0, in nats a token."""
        return {"empty": token_mean_nll(step[EMPTY])}


METHOD = EmptyResponse
