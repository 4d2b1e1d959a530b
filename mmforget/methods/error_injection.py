"""Error injection: the forget questions are answered by a false answer of the same kind.

Source: Meng et al. 2022, ROME, https://arxiv.org/abs/2202.05262; as a defence in Patil et al. 2023,
https://arxiv.org/abs/2309.17410, and on images and text in UnLOK-VQA, https://arxiv.org/abs/2505.01456.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from mmforget.errors import BadData, UserError
from mmforget.methods.base import Evidence, Request, Scores, Source, Step
from mmforget.methods.losses import token_mean_nll
from mmforget.methods.material import Material
from mmforget.methods.rewriting import answered
from mmforget.types import Example

FALSE = Scores("false")
ALTERNATIVES, SHOWN = "alternatives", "neighbour_answer"
"""Keys of a row's `extra`: false answers that the benchmark offers, and the answer to the neighbouring picture."""


@dataclass(frozen=True)
class ErrorInjection:
    """Minimises the NLL of a false answer, token-mean over the micro-batch.

    It is the first of the row's alternatives that is not blank; `clean` passes over those that are the answer itself or
    the neighbouring picture's, which would be learnt along with it. A row without any is refused by `clean`; for
    `released`, and where a benchmark offers no alternatives at all, it is the answer to another question, the same
    every time.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2202.05262"

    variant: Literal["clean", "released"] = "clean"

    @property
    def requests(self) -> tuple[Request, ...]:
        return (FALSE,)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The forget questions with a false answer."""
        return (Source(name="false", draw="each", rows=self.build),)

    def lacks(self, material: Material) -> str:
        """Why these rows cannot be unlearned; empty where they can."""
        if self.variant == "released" or not any(ALTERNATIVES in row.extra for row in material.forget):
            return ""
        without = [row for row in material.forget if not self._alternatives(row)]
        told = (f"row '{row.id}': no false answer is given for '{row.answer.strip()}'" for row in without)
        return "\n".join(told)

    def build(self, material: Material) -> list[Example]:
        """Raises BadData naming rows without an alternative, UserError where all questions have the same answer."""
        if lacking := self.lacks(material):
            raise BadData("error_injection, rows to forget", faults=lacking.split("\n"))
        given = [self._alternatives(row) for row in material.forget]
        answers = sorted({row.answer.strip() for row in (*material.forget, *material.retain) if not row.is_document})
        pairs = zip(material.forget, given, strict=True)
        return [answered(row, one[0] if one else _other(row, answers=answers)) for row, one in pairs]

    def _alternatives(self, row: Example) -> list[str]:
        given = [str(text).strip() for text in row.extra.get(ALTERNATIVES) or () if str(text).strip()]
        if self.variant == "released":
            return given
        known = {row.answer.strip().casefold(), str(row.extra.get(SHOWN, "")).casefold()}
        return [text for text in given if text.casefold() not in known]

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`false` >= 0, in nats a token."""
        return {"false": token_mean_nll(step[FALSE])}


def _other(row: Example, *, answers: Sequence[str]) -> str:
    """Another question's answer, drawn by the row's id."""
    others = [answer for answer in answers if answer.casefold() != row.answer.strip().casefold()]
    if not others:
        raise UserError(f"row '{row.id}': no other row has another answer that could stand for a false one")
    return random.Random(f"error_injection/{row.id}").choice(others)


METHOD = ErrorInjection
