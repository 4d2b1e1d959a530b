"""The question behind where its fact belongs, one level after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking
from mmforget.attacks.wording import place_of
from mmforget.errors import UserError

OUTERMOST, WITHIN = "This belongs to {node}. ", "Within that it belongs to {node}. "
NUM_LEVELS = 4


@dataclass(frozen=True)
class ContextLadder:
    """Attempts at a question behind the nodes above it (`path`), from none to all: what each level gives away.

    Attempt 0 is the plain question, attempt j has the first j nodes; so success at a budget of j + 1 less that at a
    budget of 1 is what levels up to j bring back.

    Source: the reconstruction attack of MedForget (arXiv 2512.09867, first version), which "progressively adds
    hierarchical level context to prompts". Its prompts and scores are not public: this is a reconstruction.

    Args:
        rung: one number of nodes, tried alone; None: all of them in turn.
    """

    rung: int | None = None

    access: ClassVar[Literal["black_box"]] = "black_box"
    modality: ClassVar[Literal["any"]] = "any"
    kinds: ClassVar[tuple[str, ...]] = ("gen",)
    sets: ClassVar[Literal["forget"]] = "forget"
    label: ClassVar[str] = "context ladder"
    budget: ClassVar[int] = NUM_LEVELS + 1
    cost: ClassVar[str] = "an answer for each level above a row, and one more"

    def __post_init__(self) -> None:
        if self.rung is not None and not 0 <= self.rung <= NUM_LEVELS:
            raise UserError(f"rung={self.rung} is not allowed; give 0 to {NUM_LEVELS}, or none for all")

    def asks(self, ask: Ask) -> list[Ask] | Lacking:
        place = place_of(ask)
        if isinstance(place, Lacking):
            return place
        path = [str(node) for node in place.facts.row.get("path") or ()][:NUM_LEVELS]
        if not path or (self.rung or 0) > len(path):
            return Lacking(f"its path has {len(path)} levels")
        told = [(OUTERMOST if number == 0 else WITHIN).format(node=node) for number, node in enumerate(path)]
        rungs = range(len(path) + 1) if self.rung is None else [self.rung]
        if any(place.gives_away(node) for node in path[: max(rungs)]):
            return Lacking("its path would say the answer")
        return [place.put(front="".join(told[:number])) for number in rungs]


ATTACK = ContextLadder
