"""Words in front of every question, searched by gradients on some subjects and tried on the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from mmforget.attacks.token_search import TokenSearch


@dataclass(frozen=True)
class UniversalPrefix(TokenSearch):
    """One prefix for all. It is told the answers of the rows that it learns on; those and all of their subjects take no
    part.

    Source: the universal prefixes of model tampering (Che et al., arXiv 2502.05209), chosen on 64 rows, by greedy
    coordinate gradient (GCG); numbers of steps and candidates there are not public.

    Args:
        rows: that it learns on, of at most half of the subjects.
        length, candidates, top: as of `TokenSearch`.
    """

    candidates: int = 16
    rows: int = 16

    label: ClassVar[str] = "universal prefix"
    told: ClassVar[Literal["others"]] = "others"
    where: ClassVar[Literal["front"]] = "front"
    cost: ClassVar[str] = (
        "a search, of which a step scores as many texts as candidates in front of each row, and answers"
    )


ATTACK = UniversalPrefix
