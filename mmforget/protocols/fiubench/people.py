"""Benchmarks whose subjects are people asked about one by one: their records, checked, and the borrowing of answers."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mmforget.pictures import single

_SUBJECT = re.compile(r"the (?:person|people)(?: in the (?:image|picture|photo))?", re.IGNORECASE)
_BROKEN_WORDING = re.compile(r"'s[a-z]|\bsceond\b")
NUM_BORROWED = 3


@dataclass(frozen=True)
class Question:
    """One fact about a person: how it is asked, answered, and what other wordings and wrong answers there are."""

    question: str
    answer: str
    text_question: str = ""
    wordings: tuple[str, ...] = ()
    rephrased: tuple[str, ...] = ()
    answer_rephrased: tuple[str, ...] = ()
    perturbed: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    borrowed: bool = False


@dataclass(frozen=True)
class Person:
    """A subject: identity, name, where the picture lies or how it is drawn, and what is known about it."""

    id: str
    name: str
    questions: tuple[Question, ...]
    image: str | None = None
    portrait: Mapping[str, Any] | None = field(default=None, hash=False)


def about(question: str, *, name: str) -> str:
    """A question about the person in the image as one about somebody named, for models that get no image."""
    named, count = _SUBJECT.subn(lambda _: name, question, count=1)
    return named if count else f"About {name}: {question}"


def person_from(record: Any, *, label: str, faults: list[str]) -> Person | None:
    """A Person out of an official record (`unique_id`, `name`, `image_path`, `qa_list`); what is wrong: to `faults`.

    Optional fields that are missing stay empty, and metrics that need them report unscored.
    """
    if not isinstance(record, Mapping):
        faults.append(f"{label}: a record is a JSON object, not {type(record).__name__}")
        return None
    before = len(faults)
    for name in ("unique_id", "name", "qa_list"):
        if not record.get(name):
            faults.append(f"{label}: field '{name}' is {'missing' if name not in record else 'empty'}")
    items = record.get("qa_list") or []
    if not isinstance(items, list):
        faults.append(f"{label}: qa_list is not a list")
        items = []
    label = f"{label} ({record.get('unique_id', 'no id')})"
    image = single(record.get("image_path")) or None
    if not isinstance(image, str | None):
        faults.append(f"{label}: image_path is {image!r:.80}; give one path")
    questions = [_question(item, label=f"{label} question {i}", faults=faults) for i, item in enumerate(items, start=1)]
    if len(faults) > before:
        return None
    known = tuple(question for question in questions if question is not None)
    return Person(str(record["unique_id"]), str(record["name"]), known, image, record.get("portrait"))


def group_rows(rows: Sequence[Any], *, source: str, faults: list[str]) -> list[dict[str, Any]]:
    """Records out of the text-only variant, which has one row a question, in the order their people first occur."""
    people: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(rows, start=1):
        needed = ("identity_id", "name", "original_question", "answer")
        missing = [name for name in needed if not isinstance(row, Mapping) or name not in row]
        if missing:
            faults.append(f"{source} row {number}: field '{missing[0]}' is missing")
            continue
        person = people.setdefault(
            str(row["identity_id"]), {"unique_id": row["identity_id"], "name": row["name"], "qa_list": []}
        )
        qa = {
            "question": row["original_question"],
            "answer": row["answer"],
            "text_question": row.get("text_only_question"),
        }
        person["qa_list"].append(qa)
    return list(people.values())


def repeated_ids(ids: Sequence[str], *, source: str) -> list[str]:
    """One fault for each id that stands for more than one record."""
    return [f"{source}: id '{name}' occurs {times} times" for name, times in Counter(ids).items() if times > 1]


def split_faults(split: Mapping[str, Sequence[str]], *, ids: Sequence[str], source: str) -> list[str]:
    """Ids of a split that nobody has, that are listed twice, or that are in a forget and in a retain list."""
    known = set(ids)
    faults = []
    for name, listed in split.items():
        faults += [f"{source}: {name} names the unknown person '{i}'" for i in listed if i not in known]
        faults += [f"{source}: {name} names '{i}' {times} times" for i, times in Counter(listed).items() if times > 1]
    kept = {i: name for name, listed in split.items() if name.startswith("retain") for i in listed}
    for name, listed in split.items():
        if name.startswith("forget"):
            faults += [f"{source}: '{i}' is in both {name} and {kept[i]}" for i in listed if i in kept]
    return faults


def borrow_answers(people: Sequence[Person], *, wanted: Iterable[Person]) -> list[Person]:
    """`wanted` with missing perturbed answers filled: three different answers of others to the same question text.

    The choice depends on person and question alone, so it is the same in every process and for every subset. A
    question that fewer than three others answer differently stays without. A missing rephrased answer becomes the
    answer itself, so that truth ratios can be computed.
    """
    answers: dict[str, set[str]] = {}
    for person in people:
        for question in person.questions:
            answers.setdefault(question.question, set()).add(question.answer)
    return [
        replace(person, questions=tuple(_borrowed(q, person, answers) for q in person.questions)) for person in wanted
    ]


def known_defects(people: Sequence[Person], *, parts: Mapping[str, Sequence[Person]]) -> list[str]:
    """Defects of the text that move numbers, counted over all people and, for inner full stops, in each of `parts`."""
    questions = [question for person in people for question in person.questions]
    names = Counter(person.name for person in people)
    repeated = [name for name, times in names.items() if times > 1]
    notes = []
    if repeated:
        notes.append(f"{len(repeated)} names belong to more than one person: {', '.join(repeated)}")
    inner = _num_inner_stops(people)
    if inner:
        detail = ", ".join(
            f"{_num_inner_stops(part):,} of {_num_questions(part):,} in {name}" for name, part in parts.items()
        )
        notes.append(
            f"{inner:,} of {len(questions):,} answers hold a full stop inside ({detail}): "
            "the released profile cuts generations at the first one"
        )
    broken = Counter(match.group() for q in questions for match in _BROKEN_WORDING.finditer(q.question))
    if broken:
        count = sum(bool(_BROKEN_WORDING.search(q.question)) for q in questions)
        notes.append(f'{count:,} questions with broken wording ("the person\'sblood type", "sceond"), kept as they are')
    unended = sum(not q.answer.rstrip().endswith((".", '."', "!", "?")) for q in questions)
    if unended:
        notes.append(f"{unended:,} answers do not end with a full stop")
    return notes


def missing_fields(people: Sequence[Person]) -> list[str]:
    """Which optional fields are missing, in how many questions, and what that leaves out."""
    effects = {
        "rephrased": ("rephrased question", "not asked in the rephrase set"),
        "answer_rephrased": ("paraphrased answer", "truth ratio and KS are unscored"),
        "perturbed": ("perturbed answers", "truth ratio, KS and normalised probability are unscored"),
        "keywords": ("keywords", "keyword match and APE are unscored"),
    }
    questions = [question for person in people for question in person.questions]
    notes = []
    for name, (label, effect) in effects.items():
        count = sum(not getattr(question, name) for question in questions)
        if count:
            notes.append(f"{count:,} of {len(questions):,} questions have no {label}: {effect}")
    return notes


def _question(item: Any, *, label: str, faults: list[str]) -> Question | None:
    if not isinstance(item, Mapping):
        faults.append(f"{label}: not a JSON object")
        return None
    for name in ("question", "answer"):
        value = item.get(name)
        if not isinstance(value, str):
            faults.append(f"{label}: field '{name}' is " + ("missing" if value is None else "not a text"))
        elif not value.strip():
            faults.append(f"{label}: {name} is empty")
    lists = {name: _texts(item.get(name), label=f"{label}: {name}", faults=faults) for name in _LISTS}
    return Question(
        question=str(item.get("question")),
        answer=str(item.get("answer")),
        text_question=str(item.get("text_question") or ""),
        wordings=lists["wordings"],
        rephrased=lists["paraphrased_question"],
        answer_rephrased=lists["paraphrased_answer"],
        perturbed=lists["perturbed_answer"],
        keywords=lists["keywords"],
    )


_LISTS = ("wordings", "paraphrased_question", "paraphrased_answer", "perturbed_answer", "keywords")


def _texts(value: Any, *, label: str, faults: list[str]) -> tuple[str, ...]:
    """A list of texts, or one text as a list of one; missing is empty."""
    if value is None or value == "":
        return ()
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        faults.append(f"{label} is not a list of texts")
        return ()
    if not all(item.strip() for item in items):
        faults.append(f"{label} holds an empty text")
    return tuple(items)


def _borrowed(question: Question, person: Person, answers: Mapping[str, set[str]]) -> Question:
    others = sorted(answers.get(question.question, set()) - {question.answer})
    if question.perturbed or len(others) < NUM_BORROWED:
        return question
    chosen = random.Random(f"{person.id}/{question.question}").sample(others, NUM_BORROWED)
    rephrased = question.answer_rephrased or (question.answer,)
    return replace(question, perturbed=tuple(chosen), answer_rephrased=rephrased, borrowed=True)


def _num_inner_stops(people: Sequence[Person]) -> int:
    return sum("." in question.answer.rstrip()[:-1] for person in people for question in person.questions)


def _num_questions(people: Sequence[Person]) -> int:
    return sum(len(person.questions) for person in people)
