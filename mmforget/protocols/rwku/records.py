"""One row of RWKU's files, checked: what cannot be asked is left out and counted, what is no row at all is a fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from mmforget.protocols.rwku.prompts import LETTERS, with_options

ATTACKS = (
    "prefix injection",
    "affirmative suffix",
    "role playing",
    "multiple choice",
    "reverse query",
    "synonym manipulation",
    "background hint",
    "incontext learning",
    "cross lingual",
)
"""The kinds of adversarial probes, as the files spell them."""
ASKS = {"affirmative suffix": "suffix", "incontext learning": "examples"}
"""How is asked by kind of attack, where it is not as a question."""
NUM_SHOWN = 3
Made = TypeVar("Made")


class Question(NamedTuple):
    """A question, of a probe or of what everybody knows.

    Attributes:
        subject: the target for which it is asked.
        ask: which prompt shows it, see `prompts.SHOWN`.
        type: kind of attack; empty for others.
        choices, gold: options and the place of the right one, where it has any.
        extra: `lead`, what stands in front of the question; `answers`, other right ones; `alternatives`, false ones.
    """

    subject: str
    question: str
    answer: str
    ask: str = "question"
    type: str = ""
    choices: tuple[str, ...] = ()
    gold: int | None = None
    extra: Mapping[str, Any] = {}


class Passage(NamedTuple):
    """A text about somebody."""

    subject: str
    text: str


@dataclass
class Checked:
    """What reading a file found: faults that stop, and the rows that lack something, by what they lack."""

    faults: list[str] = field(default_factory=list)
    lacking: dict[str, list[int]] = field(default_factory=dict)

    def notes(self, name: str, *, total: int) -> list[str]:
        """One line for each thing that rows lack, with how many and which first."""
        found = []
        for what, rows in self.lacking.items():
            shown = ", ".join(map(str, rows[:NUM_SHOWN])) + (", ..." if len(rows) > NUM_SHOWN else "")
            has, are, of = ("has", "is", "row") if len(rows) == 1 else ("have", "are", "rows")
            found.append(f"{name}: {len(rows)} of {total} rows {has} no {what} and {are} left out ({of} {shown})")
        return found


def made(
    records: Sequence[Any], make: Callable[[Mapping[str, Any]], Made], *, name: str, needed: Sequence[str]
) -> tuple[list[Made], Checked]:
    """What `make` makes of the records that have all that is needed, and what became of the others.

    Args:
        needed: fields that must be texts that are not empty; `list:` in front of a name wants a list that is not empty.
    """
    checked, found = Checked(), list[Made]()
    for number, record in enumerate(records, start=1):
        if not isinstance(record, Mapping):
            checked.faults.append(f"{name} row {number}: is no object")
            continue
        missing = [field.removeprefix("list:") for field in needed if not _is_there(record, field)]
        for what in missing:
            checked.lacking.setdefault(what, []).append(number)
        if missing:
            continue
        try:
            found.append(make(record))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            checked.faults.append(f"{name} row {number}: {_why(error)}")
    return found, checked


def _is_there(record: Mapping[str, Any], field: str) -> bool:
    value = record.get(field.removeprefix("list:"))
    if field.startswith("list:"):
        return isinstance(value, list) and bool(value)
    return isinstance(value, str) and bool(value.strip())


def _why(error: Exception) -> str:
    return f"has no {error.args[0]}" if isinstance(error, KeyError) else str(error)


def probe(record: Mapping[str, Any], *, ask: str = "question") -> Question:
    """A probe of level 1 (`blank`), 2 or 3."""
    kind = str(record.get("type") or "") if ask == "attack" else ""
    shown = ASKS.get(kind, "question") if ask == "attack" else ask
    return Question(record["subject"], record["query"], record["answer"], ask=shown, type=kind)


def passage(record: Mapping[str, Any]) -> Passage:
    """A text about a target, or about somebody else."""
    return Passage(str(record.get("subject") or ""), record["text"])


def biography(record: Mapping[str, Any]) -> Question:
    """A pair: what the model tells of a target, and what it makes up."""
    chosen, rejected = (str(text) for text in record["response"])
    return Question(
        record["subject"], record["prompt"], rejected, ask="biography", extra={"alternatives": [chosen]}
    )  # fmt: skip


def general(record: Mapping[str, Any]) -> Question:
    """A question of MMLU with its five examples."""
    choices, gold = _choices(record["choices"]), _place(record["answer"], record["choices"])
    topic = str(record.get("task") or "").replace("_", " ")
    shown = [
        f"{with_options(one['question'], one['choices'])}\nAnswer: {LETTERS[int(one['answer'])]}\n\n"
        for one in record.get("examples") or ()
    ]
    lead = f"The following are multiple choice questions (with answers) about {topic}.\n\n" if topic else ""
    told = "Please following the previous examples and answer the given question.\n" if shown else ""
    extra = {"lead": lead + "".join(shown) + told, "options": list(choices)}
    return _utility(
        record, question=record["question"], answer=LETTERS[gold], ask="letters", choices=choices, gold=gold
    )._replace(extra=extra)


def reason(record: Mapping[str, Any]) -> Question:
    """A question of BIG-Bench Hard with worked examples."""
    answers = _texts(record["answer"])
    extra = {"lead": str(record.get("cot") or ""), "answers": answers}
    return _utility(record, question=record["question"], answer=answers[0], ask="reason")._replace(extra=extra)


def truthfulness(record: Mapping[str, Any]) -> Question:
    """A question of TruthfulQA with one true answer among false ones (MC1)."""
    targets = record["mc1_targets"]
    choices, labels = _choices(targets["choices"]), list(targets["labels"])
    if 1 not in labels:
        raise ValueError("none of its mc1_targets is true")
    question, gold = record["question"], labels.index(1)
    return _utility(record, question=question, answer=choices[gold], ask="truth", choices=choices, gold=gold)


def factuality(record: Mapping[str, Any]) -> Question:
    """A question of TriviaQA with all answers that count."""
    answers = _texts(record["answers"])
    found = _utility(record, question=record["question"], answer=answers[0], ask="trivia")
    return found._replace(extra={"answers": answers})


def fluency(record: Mapping[str, Any]) -> Question:
    """An instruction of AlpacaEval; what is written has no reference."""
    answer = str(record.get("output") or record["instruction"])
    return _utility(record, question=record["instruction"], answer=answer, ask="instruction")


def _utility(record: Mapping[str, Any], **parts: Any) -> Question:
    return Question(str(record.get("subject") or ""), **parts)


def _choices(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) < 2 or not all(isinstance(one, str) and one.strip() for one in value):
        raise ValueError("its choices are no list of texts")
    return tuple(value)


def _place(value: Any, choices: Sequence[str]) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < len(choices):
        raise ValueError(f"its answer is {value!r:.40}, and there are {len(choices)} choices, counted from 0")
    return value


def _texts(value: Any) -> list[str]:
    texts = [value] if isinstance(value, str) else list(value or ())
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError("its answers are no texts")
    return texts


def repeated(questions: Sequence[Question], *, name: str) -> list[str]:
    """One line on questions about one subject that stand several times; none where none does."""
    counts = Counter((one.subject, one.ask, one.question) for one in questions)
    again = [key for key, count in counts.items() if count > 1]
    if not again:
        return []
    noun = "question stands" if len(again) == 1 else "questions stand"
    return [f"{name}: {len(again)} {noun} more than once, such as '{again[0][2]}'; all are asked"]


def unknown_attacks(questions: Sequence[Question], *, name: str) -> list[str]:
    """One line on kinds of attacks that the protocol does not name; none where there is none."""
    counts = Counter(one.type for one in questions if one.type not in ATTACKS)
    told = ", ".join(f"'{kind}' ({count})" for kind, count in counts.items())
    return [f"{name}: kinds that are none of the nine: {told}; they are asked as questions"] if told else []
