"""The question is asked in other words, with sampled answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking
from mmforget.attacks.rephrasing import Level, SampledAttack, reworded


@dataclass(frozen=True)
class QuestionRephrase(SampledAttack):
    """Sampled answers to other wordings of a question.

    Source: "Question rephrase" of UnLOK-VQA (arXiv 2505.01456), released code: 4 wordings with 5 answers each.

    Args: those of `SampledAttack`, and
        level: `easy`, an unrelated beginning; `medium`, the row's paraphrases; `hard`, a jailbreak in front of all.
    """

    level: Level = "hard"

    modality: ClassVar[Literal["any"]] = "any"
    label: ClassVar[str] = "question reworded"

    def asks(self, ask: Ask) -> list[Ask] | Lacking:
        wordings = reworded(ask, level=self.level, variant=self.variant)
        return wordings if isinstance(wordings, Lacking) else self.sampled(wordings)


ATTACK = QuestionRephrase
