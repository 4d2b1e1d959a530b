"""MMUnlearner: gradient ascent on just those weights that the rows to forget need more than whatever shall stay.

Source: Huo et al. 2025, "MMUnlearner: Reformulating Multimodal Machine Unlearning in the Era of Multimodal Large
Language Models", https://arxiv.org/abs/2502.11051; a threshold of 1 is that of Open-MMUnlearning. Adapted: how the
sources that stay are joined could not be read, and here each by itself has to need a weight less; squares are of one
answer's gradient, not of a batch's, on which the map would depend. Where adapters begin at nothing, one of their
factors has no gradient yet: there, 0 to forget and 0 to keep, released code finds all of it salient. Here nothing is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods.arguments import require_not_negative, require_positive
from mmforget.methods.base import USUAL, Evidence, Grid, Request, Scores, Source, Step
from mmforget.methods.losses import token_mean_nll
from mmforget.methods.material import Material
from mmforget.types import Example

FORGET, RETAIN, WORDS = Scores("forget"), Scores("retain"), Scores("words")


@dataclass(frozen=True)
class SalientWeights:
    """Minimises -NLL(forget) + retain_weight NLL(retain) over salient weights; all others stay bit by bit.

    A weight is salient where its squared gradient, averaged over the answers to forget, is at least `threshold` times
    that over those to keep, and not 0. With `words` the facts that a benchmark lists of its subjects, in words alone,
    are kept as the retain answers are: the paper wants a look to go, and what is told of it to stay. Weight decay is
    left out.
    """

    evidence: ClassVar[Evidence] = "adaptation"
    paper: ClassVar[str] = "https://arxiv.org/abs/2502.11051"
    grid: ClassVar[Grid] = {**USUAL, "threshold": (0.5, 1.0, 2.0), "retain_weight": (1.0, 2.0)}

    threshold: float = 1.0
    retain_weight: float = 1.0
    words: bool = False

    def __post_init__(self) -> None:
        require_positive(threshold=self.threshold)
        require_not_negative(retain_weight=self.retain_weight)

    @property
    def requests(self) -> tuple[Request, ...]:
        """Rows to keep are looked at in any case: they say what is salient."""
        return (FORGET, RETAIN, WORDS) if self.words else (FORGET, RETAIN)

    @property
    def sources(self) -> tuple[Source, ...]:
        """With `words`: what is told in words."""
        return (Source(name="words", rows=told_in_words),) if self.words else ()

    def trained_part(self, squares: Mapping[str, Tensor]) -> Tensor:
        """Where a weight is salient: bool of its shape; see `methods.base.Method`."""
        forget = squares["forget"]
        kept = reduce(torch.maximum, (one for source, one in squares.items() if source != "forget"))
        return (forget >= self.threshold * kept) & (forget > 0)

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`forget` <= 0, `retain` and, with `words`, `words` >= 0, in nats a token."""
        kept = {one.source: self.retain_weight * token_mean_nll(step[one]) for one in (RETAIN, WORDS)[: 1 + self.words]}
        return {"forget": -token_mean_nll(step[FORGET])} | kept


def told_in_words(material: Material) -> list[Example]:
    """The facts that a benchmark lists of its concepts. Raises UserError where there are none."""
    delimiter = material.forget[0].delimiter if material.forget else " "
    found = [
        Example(f"words/{concept.name}/{number}", concept.name, question, delimiter + answer, delimiter=delimiter)
        for concept in material.concepts
        for number, (question, answer) in enumerate(concept.facts)
    ]
    if not found:
        raise UserError(
            "method 'mmunlearner': words=true keeps what is told of the subjects in words, and the benchmark lists no "
            "facts of them; leave words out"
        )
    return found


METHOD = SalientWeights
