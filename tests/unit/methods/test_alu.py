"""The agents, played by an engine that says what a role would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from mmforget.asking import Ask, Decoding, Engine
from mmforget.errors import UserError
from mmforget.methods.alu import REFUSAL, rating_in
from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.types import Example, NoScores, NoText
from tests.helpers import tiny_image

OPENING, REPLY = "USER: ", " ASSISTANT:"


@dataclass
class Played:
    """Answers each prompt by what `play` makes of it, and keeps what was asked."""

    play: Callable[[Ask], str]
    asked: list[Ask] = field(default_factory=list)
    fingerprint: str = "played"

    def first_words(self, context: str) -> int:
        return len(OPENING)

    def last_words(self, context: str) -> int:
        return context.rfind(REPLY)

    def batches(self, asks: Sequence[Ask]) -> list[list[int]]:
        return [[at] for at in reversed(range(len(asks)))]

    def generate(self, asks: Sequence[Ask]) -> list[str]:
        self.asked += asks
        return [self.play(ask) for ask in asks]


def role_of(ask: Ask) -> str:
    signs = {"Name every": "audit", "Write the answer again": "erase", "How well": "rate", "Make one": "compose"}
    return next((role for sign, role in signs.items() if sign in ask.context), "answer")


def team(play: Callable[[Ask], str], args: str = "", *, refusals: Sequence[str] = ()) -> tuple[Engine, Played]:
    rows = [Example("0", "Ann", "who?", " Ann."), Example("1", "Bo", "who?", " Bo.")]
    inner, method = Played(play), build("alu", args)
    state = method.start(Material(forget=rows, refusals=refusals))
    return method.guard(inner, state), inner


def question(words: str = "<image>\nwho is this?", *, seed: int = 0) -> Ask:
    context = f"{OPENING}{words}{REPLY}"
    return Ask("generate", "", context, None, (), (), Decoding(12, ("\n",))).showing([tiny_image(seed)])


def scripted(**said: str) -> Callable[[Ask], str]:
    return lambda ask: said[role_of(ask)]


def test_what_is_about_nobody_is_passed_through_when_the_critic_agrees() -> None:
    engine, inner = team(scripted(answer="Cy.", audit="None of them.", rate="Fine. Rating: 5"))
    assert list(engine.generate([question()])) == ["Cy."]
    assert [role_of(ask) for ask in inner.asked] == ["answer", "audit", "rate"]
    engine, _ = team(scripted(answer="Ann.", audit="none", rate="Rating: 3"), refusals=["No idea."])
    assert list(engine.generate([question()])) == ["No idea."]


def test_what_is_about_somebody_is_written_again_and_put_together() -> None:
    """Ratings 5, 5, 4, 1, 1: the mean of the best three is 14 / 3."""

    def play(ask: Ask) -> str:
        role, seed = role_of(ask), 0 if ask.decoding is None else ask.decoding.seed or 0
        if role == "erase":
            return f"variant {seed}"
        if role == "rate":
            return f"Rating: {dict(zip('01234', '15514', strict=True))[ask.context.split('variant ')[1][0]]}"
        return {"answer": "It is Ann.", "audit": "Ann", "compose": "Somebody."}[role]

    engine, inner = team(play)
    assert list(engine.generate([question()])) == ["Somebody."]
    roles = [role_of(ask) for ask in inner.asked]
    assert [roles.count(role) for role in ("answer", "audit", "erase", "rate", "compose")] == [1, 1, 5, 5, 1]
    (last,) = [ask for ask in inner.asked if role_of(ask) == "compose"]
    assert "- variant 1\n- variant 2\n- variant 4\n" in last.context
    assert last.decoding == Decoding(12, ("\n",))
    for ask in inner.asked:
        assert (ask.context.count("<image>"), ask.image_keys) == (1, question().image_keys)
        assert (ask.context.startswith(OPENING), ask.context.endswith(REPLY)) == (True, True)
    assert all("Ann, Bo" in ask.context for ask in inner.asked if role_of(ask) != "answer")
    strict, _ = team(play, "threshold=4.7")
    assert list(strict.generate([question()])) == [REFUSAL]
    one, other = team(play, "variants=2,best=1")
    assert list(one.generate([question()])) == ["variant 1"]
    assert "compose" not in map(role_of, other.asked)


def test_questions_are_answered_each_for_itself() -> None:
    def play(ask: Ask) -> str:
        if "long" in ask.context and role_of(ask) == "audit":
            raise UserError("too many tokens")
        told = {"answer": "Ann." if "first" in ask.context else "Cy.", "rate": "Rating: 4", "erase": "X."}
        return told.get(role_of(ask)) or ("Ann" if "first" in ask.context else "none")

    engine, _ = team(play)
    found = list(engine.generate([question("<image>\nfirst?"), question("<image>\nlong?"), question("<image>\nnext?")]))
    assert found == ["X.", "", "Cy."]
    assert isinstance(found[1], NoText)
    assert found[1].reason == "the agents cannot be asked: too many tokens"


def test_there_are_no_log_probs() -> None:
    engine, inner = team(scripted(answer="Ann."))
    (found,) = engine.score([Ask("score", "", "who?", " Ann.", (), ())])
    assert isinstance(found, NoScores)
    assert "texts alone" in found.reason
    assert list(engine.roll([Ask("rolling", "", "", "text", (), ())])) == [found]
    with pytest.raises(UserError, match="gives no hidden states"):
        engine.hidden([question()], layers=(0,))
    assert not inner.asked


def test_a_rating_is_read_off_the_critics_text() -> None:
    told = {"It names 2 people. Rating: 4": 4, "rating: **5**": 5, "I would say 3.": 3, "4 of 10, or 0.5": 4, "": None}
    assert {text: rating_in(text) for text in told} == told
    assert rating_in("Rating: 1. No, better Rating: 2") == 2
    assert rating_in("7 or 12") is None


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("best=6", "best=6 of variants=5 cannot be had; give best=5"),
        ("threshold=6", "threshold=6.0 is no rating; give a number from 1 to 5"),
        ("variants=0", "variants=0 is not allowed"),
        ("names=;", "holds an empty name"),
    ],
)
def test_what_is_out_of_range_is_refused(args: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build("alu", args)
