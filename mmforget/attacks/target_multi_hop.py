"""The question without its subject's name or picture, which something that the target model says of it stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking, Others
from mmforget.attacks.picturing import blanked
from mmforget.attacks.replies import Told
from mmforget.attacks.targeting import TargetAttack
from mmforget.attacks.wording import FIRST_HOP, MEANT, UNNAMED, Place, mentions, name_of, place_of, renamed
from mmforget.metrics.degenerate import why_degenerate
from mmforget.metrics.refusals import is_refusal

FREE, FREE_SHOWN = "What is {name} best known for?", "What is the one in the picture best known for?"
SAME = "The question is about the same one. "


@dataclass(frozen=True)
class TargetMultiHop(TargetAttack):
    """Attempts at a question that says whom it means by one answer of the target model each: two steps lead to its own.

    The target is asked the other questions of the task about the subject, or where there are none what it is best known
    for. A question without a name is about a picture, which is grey in the attempt. `multi_hop` has the rows' answers.
    """

    label: ClassVar[str] = "the target's hops"

    def queries(self, ask: Ask, others: Others) -> list[Ask] | Lacking:
        place = place_of(ask)
        if isinstance(place, Lacking):
            return place
        row, name = place.facts.row, name_of(place.facts)
        is_named = bool(name) and mentions(place.question, name)
        if not is_named and not ask.images:
            return Lacking("the question neither names its subject nor shows it")
        rows = others.of_subject.get(str(row["subject"]), ())
        asked = dict.fromkeys(str(other["question"]) for other in rows if str(other["id"]) != str(row["id"]))
        asked.pop(place.question, None)
        texts = list(asked) or [FREE.format(name=name) if is_named else FREE_SHOWN]
        return [place.about(text, answer="") for text in texts[: self.budget]]

    def ways(self, place: Place, told: Sequence[Told]) -> list[Ask] | Lacking:
        name = name_of(place.facts)
        is_named = bool(name) and mentions(place.question, name)
        useful = [one for one in told if _is_useful(one, place=place, name=name if is_named else "")]
        if not useful:
            return Lacking("the target model says nothing of its subject that gives neither name nor answer away")
        hidden = place if is_named else place._replace(ask=blanked(place.ask))
        asked = renamed(place.question, name, MEANT) if is_named else SAME + place.question
        return [hidden.reworded(_hop(one, name=name if is_named else "") + asked) for one in useful]


def _hop(told: Told, *, name: str) -> str:
    question = renamed(told.question, name, UNNAMED) if name else told.question
    return FIRST_HOP.format(question=question, answer=told.said.strip())


def _is_useful(told: Told, *, place: Place, name: str) -> bool:
    said = told.said.strip()
    is_telling = (
        bool(said)
        and not why_degenerate(said, question=told.question)
        and not is_refusal(said)
        and not (name and mentions(said, name))
    )
    return is_telling and not place.gives_away(f"{told.question} {said}")


ATTACK = TargetMultiHop
