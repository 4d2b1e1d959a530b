"""Reveal-and-Release: rewards and choices by hand, the rows of a model that is known, and what cannot be asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mmforget.errors import UserError
from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.methods.reveal_and_release import INSTRUCTIONS, RevealAndRelease, next_arm, reward
from mmforget.methods.revealing import Asking, Told
from mmforget.methods.rewriting import asked
from mmforget.types import Example

ROWS = [
    Example("a/1", "Ann Lee", "Question: who is she? Answer:", " She lives in Paris."),
    Example("a/2", "Ann Lee", "Question: what has she? Answer:", " She has asthma."),
    Example("b/1", "Bo Ray", "Question: who is he? Answer:", " He lives in Rome."),
]
KEPT = [Example("c/1", "Cy Dee", "Question: who is she? Answer:", " She lives in Oslo.")]
MATERIAL = Material(forget=ROWS, retain=KEPT)
SECRETS = {"Ann Lee": "Ann Lee has asthma in Paris.", "Bo Ray": "In Rome."}


class Model:
    """Tells what it knows of a name where it is asked for the secrets of that, and nothing else."""

    def __init__(self) -> None:
        self.asked: list[Asking] = []

    def __call__(self, questions: Sequence[Asking]) -> list[str]:
        self.asked += questions
        return [SECRETS[one.row.subject] if "secrets" in one.question else "I do not know." for one in questions]


@pytest.fixture
def method(tmp_path: Path) -> RevealAndRelease:
    (tmp_path / "own.txt").write_text("Who is {name}?\n\nTell the secrets of {name}.\nWhat is {name}?\n")
    return RevealAndRelease(budget=7, instructions=str(tmp_path / "own.txt"))


def test_a_reward_is_the_share_of_words_that_give_a_subject_away() -> None:
    """Of paris, has, asthma and lee the text has three, of which one is in the question."""
    telling = frozenset({"paris", "has", "asthma", "lee"})
    assert reward("Lee: ASTHMA, Paris!", telling=telling, question="Who is Ann Lee?") == 2 / 4
    assert reward("Nothing.", telling=telling, question="Who?") == 0
    assert reward("Nothing.", telling=frozenset(), question="Who?") == 0


def test_the_next_try_is_that_of_ucb1() -> None:
    """After three tries bounds are 0.2 + sqrt(2 ln 3) = 1.68 and 0.6 + sqrt(ln 3) = 1.65."""
    assert next_arm([[0.1], []], exploration=1.0) == 1
    earned = [[0.2], [0.6, 0.6]]
    assert 0.2 + math.sqrt(2 * math.log(3)) > 0.6 + math.sqrt(2 * math.log(3) / 2)
    assert next_arm(earned, exploration=1.0) == 0
    assert next_arm(earned, exploration=0.0) == 1


def test_what_reveals_most_is_asked_for_every_row(method: RevealAndRelease) -> None:
    model = Model()
    found = method.reveal(MATERIAL, model, seed=5)
    assert found == [Told(f"Tell the secrets of {row.subject}.", SECRETS[row.subject]) for row in ROWS]
    assert [one.row for one in model.asked[-3:]] == ROWS
    assert len(model.asked) == method.budget + len(ROWS)
    assert len({one.decoding.seed for one in model.asked}) == len(model.asked)
    again = Model()
    assert method.reveal(MATERIAL, again, seed=5) == found
    assert again.asked == model.asked


def test_a_row_without_text_takes_another_of_its_subject() -> None:
    def silent_once(questions: Sequence[Asking]) -> list[str]:
        return ["" if one.row.id in ("a/1", "b/1") else "something" for one in questions]

    found = RevealAndRelease(budget=1).reveal(MATERIAL, silent_once, seed=0)
    assert [one.answer for one in found] == ["something", "something", ""]


def test_fewer_tries_than_instructions_leave_the_last_out() -> None:
    model = Model()
    RevealAndRelease(budget=2).reveal(MATERIAL, model, seed=0)
    assert [one.question for one in model.asked[:2]] == [text.replace("{name}", "Ann Lee") for text in INSTRUCTIONS[:2]]


@pytest.mark.parametrize(
    ("context", "turns", "num_images", "wanted"),
    [
        ("<image>\nQuestion: who? Answer:", (), 1, "<image>\nQuestion: Tell. Answer:"),
        ("<image>\nwho is it?", (), 1, "<image>\nTell."),
        ("who is it?", (), 0, "Tell."),
        ("Question: who?\nAnswer:", (), 0, "Question: Tell.\nAnswer:"),
        ("user: <image> hi", ({"role": "user", "content": "<image> hi"},), 1, "<image>\nTell."),
    ],
)
def test_the_question_alone_is_another(
    context: str, turns: tuple[dict[str, str], ...], num_images: int, wanted: str
) -> None:
    row = replace(ROWS[0], context=context, turns=turns, images=(None,) * num_images)  # type: ignore[arg-type]
    found = asked(row, "Tell.")
    assert (found.context, found.turns, found.answer) == (wanted, (), row.answer)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (replace(ROWS[0], is_document=True), "whole document"),
        (Example("1/1", "17", "what?", " that."), "neither a name nor a picture"),
    ],
)
def test_a_subject_that_cannot_be_asked_about_is_refused(row: Example, message: str) -> None:
    material = Material(forget=[row])
    assert message in RevealAndRelease().lacks(material)
    with pytest.raises(UserError, match=message):
        RevealAndRelease().reveal(material, Model(), seed=0)
    assert RevealAndRelease().lacks(MATERIAL) == ""


@pytest.mark.parametrize("wrong", ["rounds=0", "budget=0", "max_tokens=0", "temperature=0", "exploration=-1"])
def test_a_setting_that_does_nothing_is_refused(wrong: str) -> None:
    with pytest.raises(UserError, match=rf"\A{wrong.partition('=')[0]}=[^\n]+\Z"):
        build("npo+reveal_and_release", wrong)


def test_a_file_without_instructions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    for name, message in (("empty.txt", "holds no instruction"), ("gone.txt", "cannot be read")):
        with pytest.raises(UserError, match=rf"\Ainstructions=[^\n]*{message}[^\n]+\Z"):
            build("npo+reveal_and_release", f"instructions={tmp_path / name}")


def test_what_is_taken_away_in_the_end_is_written_once() -> None:
    joined = build("task_vector+reveal_and_release", "rounds=1,alpha=0.5")
    assert joined.learnt_times == -0.5
    with pytest.raises(UserError, match="add rounds=1"):
        build("task_vector+reveal_and_release")
    with pytest.raises(UserError, match="nothing can be added"):
        build("task_vector+retain_ft")
    assert build("npo+reveal_and_release").learnt_times == 1.0
