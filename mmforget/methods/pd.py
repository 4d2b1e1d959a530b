"""Prompt decoupling: normal answers to the very questions to forget, asked of harmless images; joins with any method.

Source: SafeEraser, https://arxiv.org/abs/2502.12520, as PD loss. It ties forgetting to what the image shows, not to how
the question is worded. The released code draws the harmless partner at random, because an index is overwritten; pairs
are the default here, `pairing=random` is as released.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from torch import Tensor

from mmforget.methods.arguments import require_not_negative
from mmforget.methods.base import Evidence, Request, Scores, Source, Step
from mmforget.methods.losses import token_mean_nll

PUBLISHED: Mapping[str, float] = {"ga": 0.5, "grad_diff": 0.5, "kl": 1.0, "po": 1.0}
"""Weights of the released code, by the method that it is joined with; it halves grad_diff's retain weight as well."""
OURS = 1.0
"""Beside any other method, beside several of these, or alone."""

BENIGN = Scores("benign")


@dataclass(frozen=True)
class PromptDecoupling:
    """Minimises weight NLL(normal answers), token-mean over the micro-batch.

    `weight` None: the published one for the method it is joined with (ga and grad_diff 0.5, kl and po 1), else 1, which
    is ours. `pairing`: `paired` takes the harmless partner of each question to forget; `random` (released) any.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2502.12520"

    weight: float | None = None
    pairing: Literal["paired", "random"] = "paired"

    def __post_init__(self) -> None:
        require_not_negative(weight=self.weight or 0.0)

    @property
    def requests(self) -> tuple[Request, ...]:
        return (BENIGN,)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The benchmark's harmless rows, drawn as `pairing` says."""
        return (Source(name="benign", draw=self.pairing),)

    def beside(self, others: tuple[str, ...]) -> Self:
        """The same with its weight settled, now that it is known which methods it is joined with."""
        if self.weight is not None:
            return self
        published = [PUBLISHED[name] for name in others if name in PUBLISHED]
        return replace(self, weight=published[0] if len(published) == 1 else OURS)

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`benign` >= 0, in nats a token."""
        return {"benign": (OURS if self.weight is None else self.weight) * token_mean_nll(step[BENIGN])}


METHOD = PromptDecoupling
