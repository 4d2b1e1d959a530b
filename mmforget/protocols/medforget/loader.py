"""MedForget (arXiv 2512.09867): official parquet files or the synthetic twin, as Rows.

    load(unlearning={"set": "forget", "setting": "patient"}, data="synthetic")["test"]

A row's `path` ends at the level its question is about: a patient's name stands at (institution, patient), and
forgetting one of the studies leaves it. `--metadata '{"forget_path": "inst_03/pat_0012"}'` (or --forget_path) forgets
a subtree of the training rows in place of the files' own split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from mmforget.benchmark import images
from mmforget.benchmark.hierarchy import divide, relation
from mmforget.benchmark.loader import Loader, Request
from mmforget.errors import UserError
from mmforget.protocols.medforget import twin
from mmforget.protocols.medforget.official import Corpus, Question, read_files, read_twin
from mmforget.protocols.medforget.records import LEVELS
from mmforget.protocols.medforget.scans import draw
from mmforget.synthetic.views import HELD_OUT_VIEW, TRAIN_VIEWS

SETS = ("full", "full_retain", "forget", "retain", "rephrase")
NO_HUB = (
    "MedForget's data are made of MIMIC-CXR, which PhysioNet gives to credentialed users alone, so nothing is fetched; "
    "give --data FOLDER with the official parquet files, or --data synthetic"
)


def _docs(request: Request, corpus: Corpus) -> list[dict[str, Any]]:
    """The docs of a set: below a path and all others, or as the files have them."""
    path = _forget_path(request)
    if request.set == "full":
        return [_doc(question) for question in corpus.full]
    if path is None:
        return [_doc(question) for question in _as_filed(request, corpus)]
    divide([{"path": question.path} for question in corpus.asked], path)
    pool = {"full_retain": corpus.full, "rephrase": corpus.rephrase}.get(request.set, corpus.asked)
    wants_inside = request.set in ("forget", "rephrase")
    return [_doc(question) for question in pool if (relation(question.path, path) == "inside") == wants_inside]


def _as_filed(request: Request, corpus: Corpus) -> Sequence[Question]:
    """A set as the files of the level have it; the retain model learns nothing of, at or below what they forget."""
    if corpus.forget is None or corpus.retain is None:
        raise UserError(
            f"{request.data}: no {request.setting}_level folder with forget_set_*.parquet and retain_set_*.parquet, so "
            "the files do not say what to forget; give such a folder, or name a subtree with --forget_path"
        )
    targets, size = _targets(corpus.forget, level=request.setting), LEVELS.index(request.setting) + 1
    named = {_key(question) for question in corpus.forget}
    kept = [q for q in corpus.full if q.path[:size] not in targets and _key(q) not in named]
    return {"forget": corpus.forget, "retain": corpus.retain, "rephrase": corpus.rephrase, "full_retain": kept}[
        request.set
    ]


def _key(question: Question) -> tuple[str, str, str]:
    """What makes two rows of different files the same question."""
    return question.said.image_id, question.said.question, question.said.answer


def _forget_path(request: Request) -> str | None:
    if request.forget_path is None and request.data == "synthetic":
        return twin.FORGOTTEN[request.setting]
    return request.forget_path


def _targets(questions: Sequence[Question], *, level: str) -> list[tuple[str, ...]]:
    """The nodes of a level that questions lie at or below, in order; questions about what is above have none."""
    size = LEVELS.index(level) + 1
    return list(dict.fromkeys(question.path[:size] for question in questions if len(question.path) >= size))


def _doc(question: Question) -> dict[str, Any]:
    said = question.said
    extra: dict[str, Any] = {"task": said.task, "level": said.level, "image_id": said.image_id}
    view = 0
    if question.scan is not None:
        held_out = question.wording >= twin.NUM_WORDINGS
        view = HELD_OUT_VIEW if held_out else TRAIN_VIEWS[question.wording % len(TRAIN_VIEWS)]
        extra["view"] = view
    return {
        "id": said.id,
        "subject": "/".join(said.path),
        "images": [said.image if question.scan is None else images.drawn(draw, question.scan, view=view)],
        "question": said.question,
        "answer": said.answer,
        "path": said.path,
        "extra": extra,
    }


def _why_empty(request: Request) -> str:
    where = f"below {request.forget_path}" if request.forget_path else f"of the setting {request.setting}"
    return f"no such rows {where}"


LOADER = Loader(
    "medforget",
    sets=SETS,
    settings=LEVELS,
    default="patient",
    official=read_files,
    twin=read_twin,
    docs=_docs,
    files=("*.parquet", "*_level/*.parquet"),
    hub=NO_HUB,
    has_files_by_setting=True,
    unused=("num_subjects", "portraits", "perturbed", "revision"),
    why_empty=_why_empty,
)
load = LOADER.load


@LOADER.telling
def notes(request: Request, corpus: Corpus) -> list[str]:
    """What was guessed, joined or made up in reading, with counts, and what the data lack."""
    return list(corpus.remarks)


@LOADER.telling
def describe(request: Request, corpus: Corpus) -> dict[str, Any]:
    """Counts of nodes and questions, what is forgotten, file hashes and the protocol, for the run record."""
    path = _forget_path(request)
    nodes = {name: {q.path[: size + 1] for q in corpus.full if len(q.path) > size} for size, name in enumerate(LEVELS)}
    kinds = Counter(question.said.task for question in corpus.full)
    return {
        **corpus.facts,
        "num_nodes": {name: len(found) for name, found in nodes.items()},
        "num_questions": dict(sorted(kinds.items())),
        "forgotten": path or [list(target) for target in _targets(corpus.forget or (), level=request.setting)],
        "protocol": "official" if path is None else f"everything below {path}, cut from the training rows",
    }
