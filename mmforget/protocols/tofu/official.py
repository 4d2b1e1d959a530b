"""TOFU's official files, read and checked: the authors in their order, wrong answers, other people and facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmforget.benchmark.files import first_file, folders_of, read_records, read_text
from mmforget.benchmark.hub import fetch
from mmforget.benchmark.loader import Origin
from mmforget.errors import BadData, UserError
from mmforget.protocols.tofu.records import Question, question_from
from mmforget.results.fingerprint import hash_file

REPO = "locuslab/TOFU"
HUB_FILES = ("*.json", "*.jsonl")
NUM_QUESTIONS = 4000
PER_AUTHOR = 20
FORGOTTEN = {"forget01": 2, "forget05": 10, "forget10": 20}
"""Authors to forget by setting, the last ones of the file: each list holds the shorter ones."""
RETAINED = {"forget01": "retain99", "forget05": "retain95", "forget10": "retain90"}
NUM_MEASURED = 20
"""Authors, the first ones, whose rows `retain_perturbed` holds."""
OTHERS = {"real_authors": 100, "world_facts": 117}
REFUSALS = "idontknow.jsonl"


class Corpus(NamedTuple):
    """Everything the files say in one setting, before any choice of set.

    Attributes:
        questions: of all authors in order, `per_author` each.
        forgotten: authors to forget by setting, counted from the end.
        num_measured: authors, from the first, on whom what is kept is measured.
        holdout: questions about authors whom no model has seen.
        others: `real_authors` and `world_facts`.
        missing: files that are not there, each with what is left out without it.
        facts: of the files, for the record.
    """

    questions: tuple[Question, ...]
    per_author: int
    forgotten: Mapping[str, int]
    num_measured: int
    holdout: tuple[Question, ...]
    others: Mapping[str, tuple[Question, ...]]
    refusals: tuple[str, ...]
    missing: tuple[str, ...]
    facts: Mapping[str, Any]

    @property
    def num_authors(self) -> int:
        return len(self.questions) // self.per_author


def read_hub(origin: Origin) -> Corpus:
    """The files of the pinned revision."""
    snapshot = fetch(REPO, revision=origin.revision, patterns=HUB_FILES)
    corpus = _read([snapshot.folder], setting=origin.setting)
    return corpus._replace(facts={**corpus.facts, "repo": REPO, "commit": snapshot.commit})


def read_files(origin: Origin) -> Corpus:
    """The files at a path, or in `data/` below it."""
    return _read(folders_of(origin.data), setting=origin.setting)


def _read(folders: Sequence[Path], *, setting: str) -> Corpus:
    files = _Files(folders)
    questions = files.all_questions()
    start = NUM_QUESTIONS - FORGOTTEN[setting] * PER_AUTHOR
    files.perturb(questions, _perturbed_names(setting), start=start)
    files.perturb(questions, ("retain_perturbed",), start=0, count=NUM_MEASURED * PER_AUTHOR)
    num_holdout = FORGOTTEN[setting] * PER_AUTHOR
    holdout = files.optional(
        f"holdout{setting.removeprefix('forget')}", num_holdout, without="the holdout tasks and membership inference"
    )
    others = {
        name: files.optional(f"{name}_perturbed", count, without=f"the {name} tasks and model utility")
        for name, count in OTHERS.items()
    }
    refusals = files.refusals()
    if files.faults:
        raise BadData(str(files.folder), faults=files.faults)
    facts = {"sha256": {path.name: hash_file(path) for path in files.used}}
    return Corpus(
        tuple(questions), PER_AUTHOR, FORGOTTEN, NUM_MEASURED, holdout, others, refusals, tuple(files.missing), facts
    )


def _perturbed_names(setting: str) -> tuple[str, ...]:
    """Files with the wrong answers of a setting: its own, else those of a longer list, whose end it is."""
    names = list(FORGOTTEN)
    return tuple(f"{name}_perturbed" for name in names[names.index(setting) :])


class _Files:
    """The folder's files as they are asked for; what is wrong, missing or used is kept."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders
        self.faults: list[str] = []
        self.missing: list[str] = []
        self.used: list[Path] = []

    @property
    def folder(self) -> Path:
        return self.used[0].parent if self.used else self.folders[0]

    def all_questions(self) -> list[Question]:
        """Every author's, from `full` or from a list to retain and the one to forget; what else is there must agree.

        Raises UserError where neither is there.
        """
        whole = [("full",), *((RETAINED[setting], setting) for setting in reversed(FORGOTTEN))]
        chosen = next((names for names in whole if all(self._path(name) for name in names)), None)
        if chosen is None:
            raise UserError(
                f"{self.folders[0]}: no TOFU files; needed: full.json, or a pair such as retain90.json and "
                "forget10.json, in this folder or in data/ below it"
            )
        sizes = _sizes()
        found = [question for name in chosen for question in self._questions(name, sizes[name][1])]
        for name, (start, count) in sizes.items():
            if name not in chosen and self._path(name):
                self._compare(self._questions(name, count), found, name=name, start=start)
        return found

    def perturb(self, questions: list[Question], names: Sequence[str], *, start: int, count: int | None = None) -> None:
        """Put wrong answers and other wordings beside the questions from `start` on, from the first file there is."""
        count = len(questions) - start if count is None else count
        name = next((name for name in names if self._path(name)), None)
        if name is None:
            self.missing.append(f"{names[0]}.json: wrong answers and other wordings")
            return
        size = NUM_MEASURED * PER_AUTHOR if name == "retain_perturbed" else _sizes()[name.removesuffix("_perturbed")][1]
        found = self._questions(name, size)[-count:]
        if self._compare(found, questions, name=name, start=start):
            questions[start : start + count] = found

    def optional(self, name: str, count: int, *, without: str) -> tuple[Question, ...]:
        """The questions of a file that may be absent; `without` says what is then left out."""
        if self._path(name) is None:
            self.missing.append(f"{name}.json: {without}")
            return ()
        return tuple(self._questions(name, count))

    def refusals(self) -> tuple[str, ...]:
        """The refusals, one a line of plain text."""
        path = first_file(self.folders, (REFUSALS,))
        if path is None:
            self.missing.append(f"{REFUSALS}: refusals, in place of which the benchmark's own are taken")
            return ()
        self.used.append(path)
        return tuple(line.strip() for line in read_text(path).split("\n") if line.strip())

    def _path(self, name: str) -> Path | None:
        return first_file(self.folders, (f"{name}.json", f"{name}.jsonl"))

    def _questions(self, name: str, count: int) -> list[Question]:
        path = self._path(name)
        if path is None:
            return []
        self.used.append(path)
        records = read_records(path)
        if len(records) != count:
            self.faults.append(f"{path.name}: has {len(records)} rows; the official file has {count}")
        return [
            question_from(record, label=f"{path.name} row {number}", faults=self.faults)
            for number, record in enumerate(records, start=1)
        ]

    def _compare(self, found: Sequence[Question], whole: Sequence[Question], *, name: str, start: int) -> bool:
        """Whether a file's questions are those of the whole from `start` on; the first that is not is a fault."""
        for number, one in enumerate(found):
            other = whole[start + number] if start + number < len(whole) else Question("", "")
            if one[:2] != other[:2]:
                self.faults.append(
                    f"{name}.json row {number + 1}: '{one.question}' is not question {start + number} of all authors, "
                    f"'{other.question}'"
                )
                return False
        return True


def _sizes() -> dict[str, tuple[int, int]]:
    """By file, the position of its first row among all questions, and how many rows it has."""
    found = {"full": (0, NUM_QUESTIONS)}
    for setting, authors in FORGOTTEN.items():
        start = NUM_QUESTIONS - authors * PER_AUTHOR
        found |= {RETAINED[setting]: (0, start), setting: (start, NUM_QUESTIONS - start)}
    return found
