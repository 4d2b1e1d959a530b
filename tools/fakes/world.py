"""A benchmark's questions with what three kinds of models would say: one that knows, one that forgot, a blind one.

world = world_of("fiubench", data=DataSource("synthetic"))
world.knows(question), world.forgot(question), world.guesses(question)

What somebody says who never learnt an answer is another subject's answer to the same question; where a benchmark has
no such model, an invented name for a concept, and a refusal for a harmful question.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from zlib import crc32

from mmforget.benchmark import Benchmark, Bound, DataSource, TaskSpec, find
from mmforget.benchmark.rows import ATTACK_IMAGES

KEPT_ROLES = (
    "retain", "utility", "benign", "benign_utility", "facts", "holdout", "shared", "test", "relearn", "retain_text",
    "retain_choice", "test_choice", "relearn_choice", "neighbour", "neighbour_image", "real_authors", "world_facts",
    "mia_retain", "general", "reason", "truthfulness", "factuality", "fluency",
)  # fmt: skip
UNSEEN = ("Moko", "Dasha", "Ruben", "Wendel")
"""Names for concepts that are not known, as the twin's micro model has them."""
REFUSED = "I do not know what this is."
MAX_ROWS = 32


@dataclass(frozen=True)
class Question:
    """One row as one task asks it. `place` counts the distinct facts of its set, so that rewordings share it."""

    task: TaskSpec
    doc: Mapping[str, Any]
    place: int
    to_forget: bool
    attack: str | None = None

    @property
    def extra(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.doc["extra"] or "{}")
        return found

    @property
    def is_seen(self) -> bool:
        """Whether the question is about a picture that is shown."""
        return self.task.modality == "image" and self.doc["has_image"] and self.attack is None


@dataclass(frozen=True)
class World:
    """A benchmark bound to its data, and the questions that its tasks ask, at most `max_rows` a set."""

    bound: Bound
    rows: Mapping[str, Sequence[Mapping[str, Any]]] = field(repr=False)
    max_rows: int

    @property
    def benchmark(self) -> Benchmark:
        return self.bound.benchmark

    @cached_property
    def questions(self) -> list[Question]:
        """In the order of the tasks; those about pictures once more with grey ones."""
        found = []
        for task in self.benchmark.tasks:
            places: dict[tuple[str, ...], int] = {}
            docs = self.rows[task.set]
            # Drawn by name: evenly spread ones would all ask for one fact where there are as many facts as between two.
            drawn = sorted((number_of(doc["id"]), doc["id"]) for doc in docs)[: self.max_rows]
            asked = {name for _, name in drawn}
            for doc in docs:
                if doc["id"] not in asked:
                    continue
                # A concept has one answer, its name: there every question counts by itself.
                fact = (doc["id"],) if '"names"' in doc["extra"] else (doc["subject"], doc["answer"])
                place = places.setdefault(fact, len(places))
                found.append(Question(task, doc, place, self._to_forget(task.set, doc)))
        grey = [
            Question(q.task, q.doc, q.place, q.to_forget, "blank_image") for q in found if q.task.modality == "image"
        ]
        return found + grey

    @cached_property
    def refusals(self) -> tuple[str, ...]:
        return self.bound.refusals

    @cached_property
    def vocabulary(self) -> list[str]:
        """Every word of questions and answers."""
        texts = [doc[name] for docs in self.rows.values() for doc in docs for name in ("question", "answer")]
        return sorted({word for text in texts for word in text.split()})

    def knows(self, question: Question) -> str:
        """The right answer, where the picture is seen or the question needs none."""
        needs_picture = question.task.modality == "image" and question.doc["has_image"]
        return self.guesses(question) if needs_picture and not question.is_seen else question.doc["answer"]

    def forgot(self, question: Question) -> str:
        """What somebody says who knows all but what was to be forgotten."""
        if not question.to_forget or (question.task.modality == "image" and not question.is_seen):
            return self.knows(question)
        if self.benchmark.has_retain_model:
            return self._of_another(question)
        extra = question.extra
        if "names" in extra:
            return self._misnamed(question, names=extra["names"], ask=extra.get("ask", "open"))
        return self.refusal(question)

    def guesses(self, question: Question) -> str:
        """The most common answer to what is asked, of those that are kept if any, whatever the picture shows."""
        asked = self._asked_plainly(question.doc)
        kept = self._kept_answers.get(asked)
        if not kept and "names" in question.extra:
            return REFUSED
        counted = Counter(kept or self._answers[asked])
        most = max(counted.values())
        return sorted(answer for answer, count in counted.items() if count == most)[0]

    def refusal(self, question: Question) -> str:
        """One of the benchmark's refusals."""
        known = self.refusals or (REFUSED,)
        return known[number_of(question.doc["id"]) % len(known)]

    def _to_forget(self, set_name: str, doc: Mapping[str, Any]) -> bool:
        sets = self.benchmark.document.sets
        kept = {sets[role] for role in KEPT_ROLES if role in sets}
        return set_name not in kept and json.loads(doc["extra"] or "{}").get("ask") != "control"

    def _of_another(self, question: Question) -> str:
        """Another subject's answer to the same question."""
        own = question.doc["answer"]
        others = sorted({text for text in self._answers[self._asked_plainly(question.doc)] if text != own})
        others = others or sorted(set(self._of_options(question.doc["question"])) - {own}) or [REFUSED]
        return others[number_of(question.doc["subject"] + own) % len(others)]

    @staticmethod
    def _of_options(text: str) -> list[str]:
        starts = [place for letter in "ABCD" if (place := text.find(f"{letter}) ")) >= 0]
        ends = [*starts[1:], len(text)] if starts else []
        return [text[start:end].strip() for start, end in zip(starts, ends, strict=True)]

    @staticmethod
    def _misnamed(question: Question, *, names: Sequence[str], ask: str) -> str:
        unseen, answer = UNSEEN[number_of(question.doc["subject"]) % len(UNSEEN)], question.doc["answer"]
        if ask == "yes_no":
            return f"This is {unseen}, so no."
        found = answer
        for name in sorted(names, key=len, reverse=True):
            found = found.replace(name, unseen)
        return found if found != answer else REFUSED

    def _asked_plainly(self, doc: Mapping[str, Any]) -> str:
        """The wording that a row's fact has in the main sets, so that rewordings find what others answer to it."""
        return self._wordings.get((doc["subject"], doc["answer"]), doc["question"])

    @cached_property
    def _wordings(self) -> dict[tuple[str, str], str]:
        main = (self.benchmark.utility_set, self.benchmark.retain_set, self.benchmark.forget_set)
        docs = [doc for name in main for doc in self.rows[name]]
        return {(doc["subject"], doc["answer"]): doc["question"] for doc in reversed(docs)}

    @cached_property
    def _answers(self) -> dict[str, list[str]]:
        return self._by_question(lambda name, doc: True)

    @cached_property
    def _kept_answers(self) -> dict[str, list[str]]:
        return self._by_question(lambda name, doc: not self._to_forget(name, doc))

    def _by_question(self, counts: Callable[[str, Mapping[str, Any]], bool]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for name, docs in self.rows.items():
            for doc in docs:
                if counts(name, doc):
                    found[self._asked_plainly(doc)].append(doc["answer"])
        return found


def world_of(group: str, *, data: DataSource, max_rows: int = MAX_ROWS) -> World:
    """The rows of the benchmark that its tasks ask or that methods keep, without their pictures."""
    benchmark = find(group)
    bound = benchmark.bind(data)
    names = dict.fromkeys((*(task.set for task in benchmark.tasks), benchmark.retain_set))
    rows: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        found = bound.rows(name)
        # In Arrow's own form no picture is decoded.
        shown = [bool(images) for images in found.with_format("arrow")[:]["images"].to_pylist()] if len(found) else []
        pictures = [column for column in ("images", ATTACK_IMAGES) if column in found.column_names]
        docs = [dict(doc) for doc in found.remove_columns(pictures)]
        rows[name] = [doc | {"has_image": has} for doc, has in zip(docs, shown, strict=True)]
    tasks = tuple(task for task in benchmark.tasks if rows[task.set])
    return World(Bound(replace(benchmark, tasks=tasks), bound.data), rows, max_rows)


def number_of(text: str) -> int:
    """A number that depends on the text alone, the same in every process."""
    return crc32(text.encode())
