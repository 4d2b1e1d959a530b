"""TOFU (arXiv 2401.06121): official files, or the synthetic twin, as Rows.

    load(unlearning={"set": "forget", "setting": "forget10"}, data="synthetic")["test"]

A row of an author is named by its position among all questions, from 0: one of the 3,999 different questions stands
twice, with different authors and answers. Twenty rows in turn are one author; the last ones are forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from mmforget.benchmark.hierarchy import divide
from mmforget.benchmark.loader import Loader, Request
from mmforget.benchmark.source import Asked, LoadOptions
from mmforget.benchmark.tables import repeated
from mmforget.errors import UserError
from mmforget.protocols.tofu import twin
from mmforget.protocols.tofu.official import FORGOTTEN, OTHERS, Corpus, read_files, read_hub
from mmforget.protocols.tofu.records import Question, lacking

KNOWN = "known"
SETS = ("full", "full_retain", "forget", "retain", "retain_perturbed", "rephrase", "holdout", *OTHERS, KNOWN)
Docs = Iterator[dict[str, Any]]


class Authors(NamedTuple):
    """Which authors, by number from 0, are there, and which of them are to be forgotten."""

    present: tuple[int, ...]
    forgotten: frozenset[int]

    @property
    def kept(self) -> tuple[int, ...]:
        return tuple(number for number in self.present if number not in self.forgotten)


def authors(request: Request, corpus: Corpus) -> Authors:
    """The authors of a request: those to forget, and of the others all or the first that `num_subjects` leaves.

    Raises UserError for a path that names no author, and a number of authors that leaves none to keep or is too large.
    """
    everyone = tuple(range(corpus.num_authors))
    if request.forget_path is None:
        forgotten = frozenset(everyone[-corpus.forgotten[request.setting] :])
    else:
        named = divide([{"path": (author_name(number),)} for number in everyone], request.forget_path).forget
        names = {doc["path"][0] for doc in named}
        forgotten = frozenset(number for number in everyone if author_name(number) in names)
    if request.num_subjects is None:
        return Authors(everyone, forgotten)
    kept = [number for number in everyone if number not in forgotten]
    num_kept = request.num_subjects - len(forgotten)
    if not 0 < num_kept <= len(kept):
        raise UserError(
            f"--metadata num_subjects is {request.num_subjects}, but {len(forgotten)} authors are forgotten and there "
            f"are {len(everyone)}; give {len(forgotten) + 1} to {len(everyone)}"
        )
    return Authors(tuple(sorted({*kept[:num_kept], *forgotten})), forgotten)


def author_name(number: int) -> str:
    """The subject of an author's rows, and the path that forgets them."""
    return f"author_{number:03d}"


def _docs(request: Request, corpus: Corpus) -> Docs:
    return Writer(request, corpus, authors(request, corpus)).docs()


class Writer(NamedTuple):
    """Turns questions into the docs of one request."""

    request: Request
    corpus: Corpus
    authors: Authors

    def docs(self) -> Docs:
        """The rows of the set that is asked for."""
        name = self.request.set
        if name in OTHERS:
            return self._others(name)
        if name == KNOWN:
            return (doc for other in OTHERS for doc in _trained(self._others(other), self.corpus.others[other]))
        if name == "holdout":
            return self._holdout()
        return self._of_authors(name)

    def _of_authors(self, name: str) -> Docs:
        measured = [number for number in self.authors.kept if number < self.corpus.num_measured]
        numbers: Sequence[int] = {
            "full": self.authors.present,
            "full_retain": self.authors.kept,
            "retain": self.authors.kept,
            "retain_perturbed": measured,
        }.get(name, [number for number in self.authors.present if number in self.authors.forgotten])
        for number in numbers:
            found = self._questions(number)
            if name == "rephrase":
                yield from _rephrased(found)
            elif name in ("full", "full_retain"):
                yield from _trained((doc for doc, _ in found), [question for _, question in found])
            else:
                yield from (doc for doc, _ in found)

    def _questions(self, number: int) -> list[tuple[dict[str, Any], Question]]:
        """The docs of an author with what they are made of."""
        size = self.corpus.per_author
        places = range(number * size, (number + 1) * size)
        name = author_name(number)
        return [
            (_doc(self.corpus.questions[place], name=f"{place:04d}", subject=name, path=(name,)), question)
            for place in places
            for question in [self.corpus.questions[place]]
        ]

    def _holdout(self) -> Docs:
        for place, question in enumerate(self.corpus.holdout):
            subject = f"holdout_{place // self.corpus.per_author:03d}"
            yield _doc(question, name=f"holdout/{place:03d}", subject=subject, path=(subject,))

    def _others(self, name: str) -> Docs:
        """Each question is a subject of its own; its answer stands for the paraphrase, as in the official code."""
        for place, question in enumerate(self.corpus.others[name]):
            label = f"{name}/{place:03d}"
            yield _doc(question._replace(rephrased_answer=question.answer), name=label, subject=label)


def _doc(question: Question, *, name: str, subject: str, path: tuple[str, ...] = ()) -> dict[str, Any]:
    rephrased = {
        "question_rephrased": [question.rephrased_question] if question.rephrased_question else [],
        "answer_rephrased": [question.rephrased_answer] if question.rephrased_answer else [],
        "answer_perturbed": list(question.perturbed),
    }
    said = {"question": question.question, "answer": question.answer}
    return {"id": name, "subject": subject, "path": path, **said, **rephrased}


def _rephrased(found: Sequence[tuple[dict[str, Any], Question]]) -> Docs:
    for doc, question in found:
        if question.rephrased_question:
            yield doc | {"id": f"{doc['id']}/r", "question": question.rephrased_question, "question_rephrased": []}


def _trained(docs: Iterator[dict[str, Any]], questions: Sequence[Question]) -> Docs:
    """The docs as stage one learns them: in each wording that the twin has."""
    for doc, question in zip(docs, questions, strict=True):
        asked = question.wordings or (question.question,)
        for number, text in enumerate(asked):
            yield doc | {"question": text, "id": f"{doc['id']}/w{number}" if question.wordings else doc["id"]}


def _check(asked: Asked, options: LoadOptions) -> None:
    if asked.setting is None and options.num_subjects:
        raise UserError(
            f"which authors are kept of {options.num_subjects} depends on who is forgotten; "
            f'add "setting" to --metadata: one of {", ".join(FORGOTTEN)}'
        )


def _why_empty(request: Request) -> str:
    files = {"rephrase": f"{request.setting}_perturbed.json with paraphrased_question", KNOWN: "their files"}
    files |= {name: f"{name}_perturbed.json" for name in OTHERS}
    files["holdout"] = f"holdout{request.setting.removeprefix('forget')}.json"
    missing = files.get(request.set, "its authors")
    return f"there is no {missing}; leave the {request.set} tasks out"


LOADER = Loader(
    "tofu",
    sets=SETS,
    settings=tuple(FORGOTTEN),
    default="forget10",
    official=read_files,
    twin=twin.corpus,
    docs=_docs,
    files=("*.json", "*.jsonl", "data/*.json", "data/*.jsonl"),
    hub=read_hub,
    has_files_by_setting=True,
    unused=("portraits", "perturbed"),
    check=_check,
    why_empty=_why_empty,
)
load = LOADER.load


@LOADER.telling
def refusals(request: Request, corpus: Corpus) -> list[str]:
    """The refusals of `idontknow.jsonl`; none with the twin."""
    return list(corpus.refusals)


@LOADER.telling
def notes(request: Request, corpus: Corpus) -> list[str]:
    """Questions that stand twice, files that are missing, and fields that rows lack, each counted."""
    chosen, size = authors(request, corpus), corpus.per_author
    forgotten = [q for n in sorted(chosen.forgotten) for q in corpus.questions[n * size : (n + 1) * size]]
    measured = [n for n in chosen.kept if n < corpus.num_measured]
    kept = [question for number in measured for question in corpus.questions[number * size : (number + 1) * size]]
    found = repeated([one.question for one in corpus.questions])
    found += [f"there is no {text}" for text in corpus.missing]
    found += lacking(forgotten, of="forget", needs_rephrasing=True)
    found += lacking(kept, of="retain_perturbed", needs_rephrasing=False)
    for name, questions in corpus.others.items():
        found += lacking(questions, of=name, needs_rephrasing=False)
    return found


@LOADER.telling
def describe(request: Request, corpus: Corpus) -> dict[str, Any]:
    """Counts of authors, the resolved commit, file hashes and the protocol, for the run record."""
    chosen = authors(request, corpus)
    counts = {"full": len(chosen.present), "forget": len(chosen.forgotten), "retain": len(chosen.kept)}
    forgets = request.forget_path or request.setting
    protocol = "official"
    if request.forget_path:
        protocol = f"forgets {forgets} and keeps all others"
    if request.num_subjects:
        protocol = f"subset: {forgets} and the first {counts['retain']} of the other authors"
    return {**corpus.facts, "num_authors": counts, "protocol": protocol}
