"""In-context unlearning: every question is asked behind an instruction to answer as if the names were unknown.

Source: the instruction of RWKU, https://arxiv.org/abs/2406.10890, whose wording is that of its released code; the idea
of unlearning in the context is Pawelczyk et al. 2023, https://arxiv.org/abs/2310.07579.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, TypeVar

from torch import Tensor

from mmforget.asking import Ask, Depth, Engine, GuardEngine, Look, Positions
from mmforget.errors import listed
from mmforget.methods.base import Evidence
from mmforget.methods.material import Material
from mmforget.methods.naming import given_names, names_of
from mmforget.types import NoScores, TokenScores

T = TypeVar("T")
INSTRUCTION = (
    "You are an AI Assistant who is supposed to unlearn about {} and provide answers without its knowledge as if you "
    "never knew about it. Don\u2019t tell anyone that you unlearned anything.\n"
)


@dataclass(frozen=True)
class InContext:
    """Writes the instruction in front of what is asked, inside the user's first turn; the model stays as it is.

    A whole document is read with the instruction in front, whose tokens count as the document's, as in RWKU. States and
    lenses are those of the model that is so told.

    `names`: whom or what to unlearn, separated by semicolons; empty takes what the subjects of the rows to forget are
    called. `variant`: `clean` names all of them, whatever is asked; `released` only the one that a question's row is
    about, as RWKU's code does for its rows of neighbours and utility, too, and all of them where that is none. With one
    target both are the same.
    """

    names: str = ""
    variant: Literal["clean", "released"] = "clean"

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2406.10890"

    def __post_init__(self) -> None:
        given_names(self.names)

    def start(self, material: Material) -> dict[str, Any]:
        """`names`: what each subject is called. Raises UserError where they are numbers and nothing names them."""
        given = given_names(self.names)
        return {"names": dict(zip(given, given, strict=True)) if given else names_of(material)}

    def guard(self, engine: Engine, state: Mapping[str, Any]) -> Engine:
        return _Instructed(engine, state["names"], own=self.variant == "released")


@dataclass(frozen=True)
class _Instructed(GuardEngine):
    """Asks behind the instruction; `own` names the subject of a question's row alone."""

    names: Mapping[str, str]
    own: bool
    _told: dict[int, tuple[Ask, Ask]] = field(default_factory=dict, repr=False)
    """By identity of a planned question: itself, and what is asked in its place."""

    def batches(self, asks: Sequence[Ask]) -> list[list[int]]:
        self._told.clear()
        self._told.update((id(ask), (ask, self._tell(ask))) for ask in asks)
        return self.engine.batches([self._told[id(ask)][1] for ask in asks])

    def score(self, asks: Sequence[Ask]) -> Sequence[TokenScores | NoScores]:
        return self.engine.score(self._tell_all(asks))

    def generate(self, asks: Sequence[Ask]) -> Sequence[str]:
        return self.engine.generate(self._tell_all(asks))

    def roll(self, asks: Sequence[Ask]) -> Sequence[TokenScores | NoScores]:
        return self.engine.roll(self._tell_all(asks))

    def hidden(self, asks: Sequence[Ask], *, layers: Sequence[int], positions: Positions = "answer") -> list[Tensor]:
        return self.engine.hidden(self._tell_all(asks), layers=layers, positions=positions)

    def lens(self, asks: Sequence[Ask], *, depths: Sequence[Depth], look: Look[T]) -> list[list[T]]:
        return self.engine.lens(self._tell_all(asks), depths=depths, look=look)

    def _tell_all(self, asks: Sequence[Ask]) -> list[Ask]:
        planned = (self._told.pop(id(ask), None) for ask in asks)
        return [self._tell(ask) if one is None else one[1] for ask, one in zip(asks, planned, strict=True)]

    def _tell(self, ask: Ask) -> Ask:
        words = INSTRUCTION.format(listed(self._names(ask)))
        if ask.kind == "rolling":
            return replace(ask, continuation=words + (ask.continuation or ""))
        at = self.engine.first_words(ask.context)
        return replace(ask, context=ask.context[:at] + words + ask.context[at:])

    def _names(self, ask: Ask) -> list[str]:
        if self.own and ask.row is not None:
            keys = [ask.row["subject"], *(ask.row.get("path") or ())]
            found = [self.names[key] for key in keys if key in self.names]
            if found:
                return found[:1]
        return list(dict.fromkeys(self.names.values()))


METHOD = InContext
