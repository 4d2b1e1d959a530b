"""Input rephrasing: fact erasure of the forget questions as they are and behind four unrelated beginnings.

Source: Patil et al. 2023, "Can Sensitive Information Be Deleted From LLMs?", https://arxiv.org/abs/2309.17410; on
images and text in UnLOK-VQA, https://arxiv.org/abs/2505.01456, whose code's beginnings these are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mmforget.methods.base import Evidence, Request, Scores, Source, Step
from mmforget.methods.losses import sequence_sum_logprob
from mmforget.methods.material import Material
from mmforget.methods.rewriting import prefixed
from mmforget.types import Example

BEGINNINGS = ("A new study suggests. ", "The following is a. ", "I've always been. ", "The following blog post. ")
NAMES = tuple(f"rephrased_{number}" for number in range(1, len(BEGINNINGS) + 1))


@dataclass(frozen=True)
class InputRephrasing:
    """Minimises the probability of an answer to five wordings of its question.

    `variant`: `clean` the mean of the five; `released` their product, as the official code computes it, whose gradient
    vanishes as soon as one of them is small. Over several rows it is the mean.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2309.17410"

    variant: Literal["clean", "released"] = "clean"

    @property
    def requests(self) -> tuple[Request, ...]:
        return tuple(Scores(name) for name in ("forget", *NAMES))

    @property
    def sources(self) -> tuple[Source, ...]:
        """The forget rows behind each of the beginnings."""
        pairs = zip(NAMES, BEGINNINGS, strict=True)
        return tuple(Source(name=name, draw="each", rows=partial(_behind, words=words)) for name, words in pairs)

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`probability`, between 0 and 1."""
        wordings = [step[Scores(name)] for name in ("forget", *NAMES)]
        logprobs = torch.stack([sequence_sum_logprob(one.token_logprobs, one.mask) for one in wordings])
        if self.variant == "released":
            return {"probability": logprobs.sum(0).exp().mean()}
        return {"probability": logprobs.exp().mean()}


def _behind(material: Material, *, words: str) -> list[Example]:
    """Raises UserError for a row to forget that is a whole document."""
    return [prefixed(row, words) for row in material.forget]


METHOD = InputRephrasing
