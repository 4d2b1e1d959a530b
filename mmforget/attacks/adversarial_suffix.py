"""Words behind the question, searched by gradients for each question until the true answer is likely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from mmforget.attacks.token_search import TokenSearch


@dataclass(frozen=True)
class AdversarialSuffix(TokenSearch):
    """For each question a suffix of its own. It is told the answer, and never says any part of it.

    Source: greedy coordinate gradient (GCG), Zou et al. (arXiv 2307.15043), for the true answer instead of a wanted
    beginning; that uses the unlearned model alone, as the search of UnlearnDiffAtk does for images that are generated.

    Args: those of `TokenSearch`.
    """

    label: ClassVar[str] = "adversarial suffix"
    told: ClassVar[Literal["own"]] = "own"
    where: ClassVar[Literal["end"]] = "end"
    cost: ClassVar[str] = "for every question a search: a step scores its answer behind as many texts as candidates"


ATTACK = AdversarialSuffix
