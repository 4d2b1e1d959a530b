"""The question is asked about another picture of the same, with sampled answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking
from mmforget.attacks.rephrasing import Level, SampledAttack, shown_anew


@dataclass(frozen=True)
class ImageRephrase(SampledAttack):
    """Sampled answers to the question about another picture.

    Source: "Image rephrase" of UnLOK-VQA (arXiv 2505.01456), released code: 20 answers.

    Args: those of `SampledAttack`, and
        level: `easy`, noise on the picture; `medium`, an unrelated object is changed; `hard`, drawn from a description.
    """

    level: Level = "hard"

    modality: ClassVar[Literal["image"]] = "image"
    label: ClassVar[str] = "another picture"

    def asks(self, ask: Ask) -> list[Ask] | Lacking:
        shown = shown_anew(ask, level=self.level)
        return shown if isinstance(shown, Lacking) else self.sampled([shown])


ATTACK = ImageRephrase
