"""RWKU (arXiv 2406.10890): official files, or the synthetic twin, as Rows.

    load(unlearning={"set": "forget_level2", "setting": "single"}, data="synthetic")["test"]

A row of a probe is named by its file and its place among all rows of it, from 0. `single` forgets one target, the first
one or that of `forget_path`; `batch` all of them, or the first that `num_subjects` leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from mmforget.benchmark.loader import Loader, Request
from mmforget.benchmark.source import Asked, LoadOptions
from mmforget.errors import UnknownName, UserError
from mmforget.protocols.rwku import twin
from mmforget.protocols.rwku.official import CORPORA, FILES, Corpus, read_files, read_hub
from mmforget.protocols.rwku.prompts import BEGINS
from mmforget.protocols.rwku.records import Passage, Question

TRAINED = ("pretrain", "corpus", "retain")
SETS = (*TRAINED, *FILES)
PROBES = ("forget_level1", "forget_level2", "neighbour_level1", "neighbour_level2")
KNOWN = ("general", "reason", "truthfulness", "factuality", "fluency")
SINGLE, BATCH = "single", "batch"
Docs = Iterator[dict[str, Any]]


class Writer(NamedTuple):
    """Turns what the files say into the docs of one request."""

    request: Request
    corpus: Corpus
    forgotten: tuple[str, ...]

    def docs(self) -> Docs:
        """The rows of the set that is asked for."""
        name = self.request.set
        if name in self.corpus.passages:
            return _numbered(name, self._of_targets(self.corpus.passages[name]))
        if name in self.corpus.questions:
            found = self._of_targets(self.corpus.questions[name])
            return _numbered(name, _distinct(found) if name in KNOWN else found)
        return {"pretrain": self._pretrain, "corpus": self._corpus, "retain": self._retain}[name]()

    def _of_targets(self, rows: Iterable[Question | Passage]) -> Iterator[tuple[int, Question | Passage]]:
        """Rows of the targets that are forgotten, and those that are nobody's, with their places in the file."""
        return (pair for pair in enumerate(rows) if not pair[1].subject or pair[1].subject in self.forgotten)

    def _pretrain(self) -> Docs:
        """What the micro model is taught. Of official files these are the very probes that it is asked later."""
        return _numbered("pretrain", enumerate(self.corpus.taught or self._probes(PROBES)))

    def _corpus(self) -> Docs:
        lessons = [one for one in self.corpus.lessons if one.subject in self.forgotten]
        own = [one for one in self._probes(PROBES[:2]) if one.subject in self.forgotten]
        return _numbered("corpus", enumerate(lessons or own))

    def _retain(self) -> Docs:
        """What is trained on to be kept: the lessons about others, or the probes of neighbours where there are none."""
        others = [one for one in self.corpus.lessons if one.subject not in self.forgotten]
        near = [one for one in self._probes(PROBES[2:]) if one.subject in self.forgotten]
        return _numbered("retain", enumerate(others or near))

    def _probes(self, names: Iterable[str]) -> list[Question]:
        return [one for name in names for one in self.corpus.questions[name]]


def _docs(request: Request, corpus: Corpus) -> Docs:
    return Writer(request, corpus, targets(request, corpus)).docs()


def targets(request: Request, corpus: Corpus) -> tuple[str, ...]:
    """Whom a request forgets.

    Raises UnknownName for a path that names no target, UserError for a number of them that is too large.
    """
    if request.forget_path is not None:
        name = request.forget_path.strip("/")
        if name not in corpus.targets:
            raise UnknownName("target in --forget_path", name=name, known=corpus.targets)
        return (name,)
    if request.setting == SINGLE:
        return corpus.targets[:1]
    number = request.num_subjects or len(corpus.targets)
    if number > len(corpus.targets):
        raise UserError(f"--metadata num_subjects is {number}, but there are {len(corpus.targets)} targets")
    return corpus.targets[:number]


def _distinct(rows: Iterator[tuple[int, Question | Passage]]) -> Iterator[tuple[int, Question | Passage]]:
    """Each question that everybody knows once: the files repeat them for every target."""
    seen = set[tuple[str, str]]()
    for place, one in rows:
        key = (one.question, one.answer) if isinstance(one, Question) else ("", one.text)
        if key not in seen:
            seen.add(key)
            yield place, one


def _numbered(name: str, rows: Iterable[tuple[int, Question | Passage]]) -> Docs:
    for place, one in rows:
        label = f"{name}/{place:04d}"
        subject = label if name in KNOWN else one.subject or "others"
        row = _asked(one) if isinstance(one, Question) else {"text": one.text}
        yield {"id": label, "subject": subject, "path": (one.subject,) if one.subject else (), **row}


def _asked(one: Question) -> dict[str, Any]:
    extra = {"ask": one.ask, "begins": BEGINS.get(one.ask, ""), **one.extra} | ({"type": one.type} if one.type else {})
    options = {"choices": one.choices, "gold": one.gold} if one.choices else {}
    return {"question": one.question, "answer": one.answer, "extra": extra, **options}


def _check(asked: Asked, options: LoadOptions) -> None:
    if options.num_subjects and (asked.setting in (None, SINGLE) or options.forget_path):
        raise UserError(
            f"--metadata num_subjects is {options.num_subjects}, but one target is forgotten; ask rwku_batch for "
            "several, without a path"
        )


def _why_empty(request: Request) -> str:
    missing = FILES[request.set].name if request.set in FILES else f"{CORPORA[0].name} and the like"
    return f"there is no {missing}, or nothing about the target in it; leave the {request.set} tasks out"


LOADER = Loader(
    "rwku",
    sets=SETS,
    settings=(SINGLE, BATCH),
    default=SINGLE,
    official=read_files,
    twin=twin.corpus,
    docs=_docs,
    files=("*.json", "*/*.json", "Target/*/*.json"),
    max_files=10_000,
    hub=read_hub,
    unused=("portraits", "perturbed"),
    check=_check,
    why_empty=_why_empty,
)
load = LOADER.load


@LOADER.telling
def notes(request: Request, corpus: Corpus) -> list[str]:
    """Files that are missing, rows that lack something or stand twice, and what stands in for what, each counted."""
    forgotten = targets(request, corpus)
    found = list(corpus.notes)
    repeated = {name: _num_repeated(request, corpus, name, forgotten=forgotten) for name in KNOWN}
    told = ", ".join(f"{count} of {name}" for name, count in repeated.items() if count)
    if told:
        found.append(f"questions that the files repeat for several targets are asked once: {told} left out")
    if corpus.lessons and not any(one.subject not in forgotten for one in corpus.lessons):
        found.append("there is no text about anybody else: what methods keep is trained on the probes of neighbours")
    return found


def _num_repeated(request: Request, corpus: Corpus, name: str, *, forgotten: tuple[str, ...]) -> int:
    writer = Writer(request, corpus, forgotten)
    rows = list(writer._of_targets(corpus.questions.get(name, ())))
    return len(rows) - len(list(_distinct(iter(rows))))


@LOADER.telling
def describe(request: Request, corpus: Corpus) -> Mapping[str, Any]:
    """Whom it is to forget, the resolved commit and file hashes, for the run record."""
    return {**corpus.facts, "targets": list(targets(request, corpus)), "num_targets": len(corpus.targets)}
