"""MedForget's official records, one an image with its questions packed inside, turned into questions with a place.

What is wrong is collected, so that all of it is reported at once; what had to be guessed is counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmforget.benchmark.images import ImageValue, image_fault
from mmforget.errors import one_line
from mmforget.pictures import single

LEVELS = ("institution", "patient", "study", "section")
TASKS = ("classification", "cloze", "generation")
SECTIONS = ("EXAMINATION", "INDICATION", "FINDINGS", "IMPRESSION")
WORDS_OF_LEVELS = {
    "institution": ("institution", "hospital", "facility"),
    "patient": ("patient", "medical record"),
    "study": ("imaging study", "study identifier", "study id"),
}
"""What a question's level is known by where its row does not say; the first hit wins, and without one it is section."""
GUESSED_LEVEL = "questions of all files have no hierarchy_level; it was read off their words"
JOINED_ANSWER = "answers of all files are lists, joined by blanks as in the official evaluation"
REPEATED_ID = "rows have an ID that an earlier row of their file has, too"


class MedicalQuestion(NamedTuple):
    """One question.

    Attributes:
        id: the image's ID, with `#2` for the second row of that ID, and the question's place in its row.
        task: `classification`, `cloze` or `generation`.
        path: the nodes it lies below, from the institution down to its own level.
        image_id: the row's `ID`, or `img_` and its number.
        image: the embedded picture; None where the record has none and needs none.
        row: number of the record, from 0.
    """

    id: str
    question: str
    answer: str
    task: str
    path: tuple[str, ...]
    image_id: str
    image: ImageValue | None
    row: int

    @property
    def level(self) -> str:
        return LEVELS[len(self.path) - 1]


class Reader(NamedTuple):
    """Reads records. `faults` is what is wrong with them, `counts` how often something was guessed."""

    faults: list[str]
    counts: Counter[str]

    def file(self, path: Path) -> list[MedicalQuestion]:
        """The questions of a parquet file."""
        import pyarrow
        from pyarrow import parquet

        name = f"{path.parent.name}/{path.name}"
        try:
            records = parquet.read_table(path).to_pylist()
        except (OSError, pyarrow.ArrowException) as error:
            self.faults.append(f"{name}: not a parquet file that can be read: {one_line(error)}")
            return []
        if not records:
            self.faults.append(f"{name}: holds no rows")
        return list(self.questions(records, source=f"{name} row"))

    def questions(
        self, records: Sequence[Mapping[str, Any]], *, source: str, with_images: bool = True
    ) -> Iterator[MedicalQuestion]:
        """The questions of every record, in order."""
        seen: Counter[str] = Counter()
        for number, record in enumerate(records):
            label = f"{source} {number + 1}"
            name = str(record.get("ID") or f"img_{number}")
            seen[name] += 1
            self.counts[REPEATED_ID] += seen[name] > 1
            unique = name if seen[name] == 1 else f"{name}#{seen[name]}"
            image = self._image(record.get("image"), label=label) if with_images else None
            for position, pair in enumerate(self._pairs(record.get("metadata"), label=label)):
                place = f"{label} question {position + 1}"
                found = self._question(record, pair, position=position, label=place)
                if found is not None:
                    yield found._replace(id=f"{unique}/{position:02d}", image_id=name, image=image, row=number)

    def remarks(self) -> tuple[str, ...]:
        """What was guessed, with counts."""
        return tuple(f"{count:,} {what}" for what, count in self.counts.items() if count)

    def _image(self, value: Any, *, label: str) -> ImageValue | None:
        value = single(value)
        data = value.get("bytes") if isinstance(value, Mapping) else value
        if not isinstance(data, bytes) or not data:
            self.faults.append(f"{label}: image has no bytes")
            return None
        image: ImageValue = {"path": None, "bytes": data}
        fault = image_fault(image)
        if fault:
            self.faults.append(f"{label}: {fault}")
        return image

    def _pairs(self, value: Any, *, label: str) -> list[Any]:
        try:
            pairs = json.loads(value) if isinstance(value, str) else value
        except json.JSONDecodeError as error:
            self.faults.append(f"{label}: metadata is not valid JSON: {error.msg} at character {error.pos + 1}")
            return []
        if not isinstance(pairs, list) or not pairs:
            self.faults.append(f"{label}: metadata is {'missing' if value is None else 'not a list of questions'}")
            return []
        return pairs

    def _question(self, record: Mapping[str, Any], pair: Any, *, position: int, label: str) -> MedicalQuestion | None:
        text = pair.get("Question") if isinstance(pair, Mapping) else None
        if not isinstance(text, str) or not text.strip():
            self.faults.append(f"{label}: Question is missing or empty")
            return None
        answer = self._answer(pair.get("Answer"), label=label)
        path = self._path(record, text, position=position, label=label)
        if answer is None or path is None:
            return None
        return MedicalQuestion("", text, answer, task_of(text, named=pair.get("task")), path, "", None, 0)

    def _answer(self, value: Any, *, label: str) -> str | None:
        if isinstance(value, list):
            self.counts[JOINED_ANSWER] += 1
            value = " ".join(str(part).strip() for part in value if part is not None and str(part).strip())
        if not isinstance(value, str) or not value.strip():
            self.faults.append(f"{label}: Answer is missing or empty")
            return None
        return value.strip()

    def _path(self, record: Mapping[str, Any], question: str, *, position: int, label: str) -> tuple[str, ...] | None:
        try:
            known = _object(record.get("hierarchy_metadata"))
        except json.JSONDecodeError as error:
            self.faults.append(
                f"{label}: hierarchy_metadata is not valid JSON: {error.msg} at character {error.pos + 1}"
            )
            return None
        level = known.get("hierarchy_level")
        if level not in LEVELS:
            self.counts[GUESSED_LEVEL] += 1
            level = level_of(question)
        parts = [part for part in str(record.get("image_path") or "").split("/") if part]
        ids = [str(known.get(f"{name}_id") or "") or "".join(parts[at : at + 1]) for at, name in enumerate(LEVELS[:3])]
        ids.append(str(known.get("section_name") or "") or section_of(question, position=position))
        path = tuple(ids[: LEVELS.index(level) + 1])
        for name, part in zip(LEVELS, path, strict=False):
            if not part or "/" in part:
                where = f"hierarchy_metadata or image_path {record.get('image_path')!r}"
                self.faults.append(f"{label}: {where} gives no {name} without a '/'")
                return None
        return path


def task_of(question: str, *, named: Any = None) -> str:
    """The kind of a question: as its record says where it does, else by the released rules, of which the first wins.

    A literal `[blank]` makes a cloze; `A)`, `B)` and `C)` together a classification; anything else is generation.
    """
    if named in TASKS:
        return str(named)
    if "[blank]" in question:
        return "cloze"
    return "classification" if all(letter in question for letter in ("A)", "B)", "C)")) else "generation"


def level_of(question: str) -> str:
    """The level a question is about by the released rules on its words."""
    text = question.lower()
    hits = (name for name, words in WORDS_OF_LEVELS.items() if any(word in text for word in words))
    return next(hits, LEVELS[-1])


def section_of(question: str, *, position: int) -> str:
    """The section a question names, or one made up of its place in the row, as released."""
    text = question.upper()
    return next((name for name in SECTIONS if name in text), f"section_{position}")


def _object(value: Any) -> Mapping[str, Any]:
    """A JSON object that may be written out as text; anything else is an empty one."""
    found = json.loads(value) if isinstance(value, str) and value.strip() else value
    return found if isinstance(found, Mapping) else {}
