"""The question is asked in other words about another picture of the same, with sampled answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking
from mmforget.attacks.rephrasing import Level, SampledAttack, reworded, shown_anew


@dataclass(frozen=True)
class MultimodalRephrase(SampledAttack):
    """Sampled answers to other wordings of a question about another picture.

    Source: "Multimodal rephrase" of UnLOK-VQA (arXiv 2505.01456), released code: jailbreaks and pictures drawn from
    descriptions, 4 wordings with 5 answers each.

    Args: those of `SampledAttack`, and
        question_level: as in `question_rephrase`.
        image_level: as in `image_rephrase`.
    """

    question_level: Level = "hard"
    image_level: Level = "hard"

    modality: ClassVar[Literal["image"]] = "image"
    label: ClassVar[str] = "words and picture"

    def asks(self, ask: Ask) -> list[Ask] | Lacking:
        shown = shown_anew(ask, level=self.image_level)
        if isinstance(shown, Lacking):
            return shown
        wordings = reworded(shown, level=self.question_level, variant=self.variant)
        return wordings if isinstance(wordings, Lacking) else self.sampled(wordings)


ATTACK = MultimodalRephrase
