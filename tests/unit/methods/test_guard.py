"""Which questions are held for those to forget, and what is asked then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from mmforget.asking import Ask, Avoid, Decoding
from mmforget.errors import UserError
from mmforget.methods.build import build
from mmforget.methods.contract import guard_state
from mmforget.methods.guard import forbidden
from mmforget.methods.material import Material
from mmforget.types import Example, NoScores, TokenScores

FORGET = [
    Example("0", "a", "Where does Ann live?", " Ann lives in Ulm."),
    Example("1", "a", "What does Ann eat?", " She eats 7 plums."),
]
RETAIN = [Example("2", "b", "Where does Bo live?", " In Bonn."), Example("3", "b", "What does Bo eat?", " Figs.")]
DIRECTION = {row.context: torch.eye(8)[at] for at, row in enumerate((*FORGET, *RETAIN))}


def states(rows: Sequence[Example]) -> Tensor:
    return torch.stack([DIRECTION[row.context] for row in rows])


@dataclass
class Shown:
    """Shows the state of each question, and keeps what is asked."""

    asked: list[Ask] = field(default_factory=list)
    num_shown: int = 0
    fingerprint: str = "shown"

    def hidden(self, asks: Sequence[Ask], **wanted: Any) -> list[Tensor]:
        assert wanted == {"layers": (-1,)}
        assert all(ask.continuation is None for ask in asks)
        self.num_shown += len(asks)
        return [3 * DIRECTION[ask.context][None, None] for ask in asks]

    def generate(self, asks: Sequence[Ask]) -> list[str]:
        self.asked += asks
        return [ask.context for ask in asks]

    def score(self, asks: Sequence[Ask]) -> list[TokenScores]:
        return [TokenScores((-1.0,), True) for _ in asks]


def made(args: str = "") -> tuple[Any, Shown]:
    method, inner = build("guard", args), Shown()
    return method.guard(inner, method.learn(Material(forget=FORGET, retain=RETAIN), states)), inner


def asks() -> list[Ask]:
    return [Ask("generate", "", row.context, None, (), (), Decoding(4)) for row in (*FORGET, *RETAIN)]


def test_questions_to_forget_avoid_the_words_of_the_nearest_answer() -> None:
    engine, inner = made("alpha=3,similarity=0.4")
    assert engine.generate(asks()) == [row.context for row in (*FORGET, *RETAIN)]
    told = [ask.decoding.avoid for ask in inner.asked if ask.decoding is not None]
    assert told == [Avoid(("lives", "Ulm"), 3.0, 0.4), Avoid(("eats", "7", "plums"), 3.0, 0.4), None, None]
    assert inner.asked[2:] == asks()[2:]


def test_log_probs_are_those_of_the_model_for_other_questions_alone() -> None:
    engine, inner = made()
    scored = [Ask("score", "", row.context, row.answer, (), ()) for row in (*FORGET, *RETAIN)]
    found = list(engine.score([*scored, *scored]))
    assert [isinstance(one, NoScores) for one in found] == [True, True, False, False] * 2
    assert "held down" in found[0].reason
    engine.generate(asks())
    assert inner.num_shown == 4
    (document,) = engine.roll([Ask("rolling", "", "", "text", (), ())])
    assert isinstance(document, NoScores)


def test_forbidden_words_are_those_that_the_question_does_not_hold() -> None:
    row = Example("0", "a", "Where does Ann live?", " Ann lives in New Ulm, and was born in 1987 with her twin.")
    assert forbidden(row) == ("lives", "New", "Ulm", "born", "1987", "twin")


def test_what_is_learnt_is_the_same_again_and_plain() -> None:
    method, material = build("guard", "units=4"), Material(forget=FORGET, retain=RETAIN)
    first, second = (method.learn(material, states) for _ in range(2))
    assert first == second
    assert [len(first[name]) for name in ("network", "states", "words")] == [4, 2, 2]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("threshold=1", "threshold=1.0 is no probability between 0 and 1"),
        ("similarity=2", "similarity=2.0 is no cosine; give a number from -1 to 1"),
        ("alpha=-1", "alpha=-1.0 is not allowed"),
        ("units=0", "units=0 is not allowed"),
    ],
)
def test_what_is_out_of_range_is_refused(args: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build("guard", args)


def test_documents_ask_nothing() -> None:
    document = Example("0", "a", "", "text", is_document=True)
    with pytest.raises(UserError, match="learns questions, and row '0' is a whole document"):
        build("guard").learn(Material(forget=[document], retain=RETAIN), states)
    with pytest.raises(UserError, match="there are no rows to keep"):
        build("guard").learn(Material(forget=FORGET), states)


def test_documents_are_refused_before_there_is_a_model() -> None:
    """States are drawn in place of a model's, so that a run that cannot end so begins no work."""
    document = Example("0", "a", "", "text", is_document=True)
    with pytest.raises(UserError, match="learns questions, and row '0' is a whole document"):
        guard_state(build("guard"), Material(forget=[document], retain=RETAIN), name="guard")
    assert guard_state(build("guard", "units=4"), Material(forget=FORGET, retain=RETAIN), name="guard")["words"]
