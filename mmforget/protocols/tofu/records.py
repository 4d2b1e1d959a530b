"""One question of TOFU, from a record of its files: checked, with what may be lacking left empty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

OPTIONAL_TEXTS = ("paraphrased_question", "paraphrased_answer")
PERTURBED = "perturbed_answer"


class Question(NamedTuple):
    """A question with its answer.

    Attributes:
        rephrased_question, rephrased_answer: in other words; empty where the files have none.
        perturbed: wrong answers, worded like the rephrased one; none where the files have none.
        wordings: of the question, as the twin trains them; none where it is trained as it stands.
    """

    question: str
    answer: str
    rephrased_question: str = ""
    rephrased_answer: str = ""
    perturbed: tuple[str, ...] = ()
    wordings: tuple[str, ...] = ()


def question_from(record: Any, *, label: str, faults: list[str]) -> Question:
    """The question in a record. What is wrong goes to `faults`, each with `label`."""
    if not isinstance(record, Mapping):
        faults.append(f"{label}: is no object with question and answer")
        return Question("", "")
    texts = {name: _text(record, name, label=label, faults=faults) for name in ("question", "answer")}
    faults += [f"{label}: {name} is missing or empty" for name, text in texts.items() if not text.strip()]
    more = {name: _text(record, name, label=label, faults=faults) for name in OPTIONAL_TEXTS}
    perturbed = record.get(PERTURBED) or ()
    if not isinstance(perturbed, list | tuple) or not all(isinstance(one, str) and one.strip() for one in perturbed):
        faults.append(f"{label}: {PERTURBED} is no list of texts")
        perturbed = ()
    return Question(
        texts["question"],
        texts["answer"],
        more["paraphrased_question"],
        more["paraphrased_answer"],
        tuple(perturbed),
        tuple(record.get("wordings") or ()),
    )


def _text(record: Mapping[str, Any], name: str, *, label: str, faults: list[str]) -> str:
    """A text, the empty one where there is none."""
    value = record.get(name)
    if value is None or isinstance(value, str):
        return value or ""
    faults.append(f"{label}: {name} is not a text")
    return ""


def lacking(questions: Iterable[Question], *, of: str, needs_rephrasing: bool) -> list[str]:
    """What questions of a set lack, counted, and what is left out or unscored for it.

    Args:
        needs_rephrasing: the set has rephrased questions and answers.
    """
    rows = list(questions)
    counts = {
        "wrong answers: truth ratio and normalised probability are unscored": sum(not one.perturbed for one in rows)
    }
    if needs_rephrasing:
        counts["paraphrased answer: truth ratio and KS are unscored"] = sum(not one.rephrased_answer for one in rows)
        counts["paraphrased question: they take no part in rephrase"] = sum(not one.rephrased_question for one in rows)
    return [f"{count} of {len(rows)} questions of {of} have no {what}" for what, count in counts.items() if count]
