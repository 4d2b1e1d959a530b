"""The question with options, one of which is the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking, Others
from mmforget.attacks.drawing import drawn_by
from mmforget.attacks.wording import Place, place_of
from mmforget.metrics.choices import options_of
from mmforget.metrics.refusals import is_refusal
from mmforget.metrics.responses import bare

QUESTION = "{question} Give the letter of the right one. {options}"
NUM_WRONG = 3


@dataclass(frozen=True)
class Choice:
    """One attempt at each question with up to four options in an order drawn for each row.

    The wrong ones are the row's choices, else its perturbed answers, else what others are answered to the same
    question. Found is an answer that names the right option, by letter or text, and no other: by chance, one in as many
    as there are. RWKU calls the kind multiple choice.

    Args:
        seed: of the draws.
    """

    seed: int = 0

    access: ClassVar[Literal["black_box"]] = "black_box"
    modality: ClassVar[Literal["any"]] = "any"
    kinds: ClassVar[tuple[str, ...]] = ("gen",)
    sets: ClassVar[Literal["forget"]] = "forget"
    knows: ClassVar[Literal["task"]] = "task"
    label: ClassVar[str] = "with options"
    budget: ClassVar[int] = 1
    cost: ClassVar[str] = "one answer to a longer question"

    def asks(self, ask: Ask, others: Others) -> list[Ask] | Lacking:
        place = place_of(ask)
        if isinstance(place, Lacking):
            return place
        if options_of(place.question):
            return Lacking("the question has options already")
        right, wrong = _candidates(place, others)
        if not wrong:
            return Lacking("no wrong answer to choose from")
        rng = drawn_by(self.seed, str(place.facts.row["id"]))
        shown = [right, *(wrong[at] for at in rng.permutation(len(wrong))[:NUM_WRONG])]
        order = rng.permutation(len(shown))
        lines = [f"{chr(ord('A') + number)}) {shown[at]}" for number, at in enumerate(order)]
        text = QUESTION.format(question=place.question, options=" ".join(lines))
        return [place.about(text, answer=lines[list(order).index(0)])]


def _candidates(place: Place, others: Others) -> tuple[str, list[str]]:
    """The right answer and wrong ones of the same make, each once."""
    row = place.facts.row
    right, perturbed = str(row["answer"]), row.get("answer_perturbed") or ()
    wrong = _wrong(row.get("choices") or (), right=right)
    if not wrong and (wrong := _wrong(perturbed, right=right)):
        right = str(next(iter(row.get("answer_rephrased") or ()), right))
    return right, wrong or _wrong(_answers_of_others(place, others), right=right)


def _wrong(texts: Sequence[str], *, right: str) -> list[str]:
    given = dict.fromkeys(" ".join(str(text).split()) for text in texts)
    return [text for text in given if bare(text) not in ("", bare(right)) and not is_refusal(text)]


def _answers_of_others(place: Place, others: Others) -> list[str]:
    """What rows of other subjects answer to the same question."""
    row, asked = place.facts.row, bare(place.question)
    rows = [other for other in others.told if other["subject"] != row["subject"]]
    return [str(other["answer"]) for other in rows if bare(str(other["question"])) == asked]


ATTACK = Choice
