"""Max-entropy: what the head reads off deeper layers where the answer stands is to say as little as it can.

Source: Patil et al. 2023, "Can Sensitive Information Be Deleted From LLMs?", https://arxiv.org/abs/2309.17410, as a
defence against the logit lens; on images and text in UnLOK-VQA, https://arxiv.org/abs/2505.01456. As there, it stands
in the place of fact erasure and is not added to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from mmforget.methods.base import Evidence, Lens, Request, Step
from mmforget.methods.losses import at_answers
from mmforget.methods.requests import LAST_THIRD


@dataclass(frozen=True)
class MaxEntropy:
    """Minimises -entropy of the distributions where the answer is predicted, averaged over layers.

    `from_depth` and `variant` as those of head_projection. Which of several tokens the official code looks at is known
    of head_projection alone; `released` takes it to be the same here, the last.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2309.17410"

    from_depth: float = LAST_THIRD
    variant: Literal["clean", "released"] = "clean"

    @property
    def lens(self) -> Lens:
        return Lens("forget", "entropy", self.from_depth, is_double=self.variant == "released")

    @property
    def requests(self) -> tuple[Request, ...]:
        return (self.lens,)

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`entropy` <= 0, in nats."""
        found = step[self.lens]
        return {"entropy": -at_answers(found.values, found.mask, last_only=self.variant == "released")}


METHOD = MaxEntropy
