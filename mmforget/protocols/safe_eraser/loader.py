"""SafeEraser (arXiv 2502.12520): the official files, or the harmless synthetic twin, as Rows.

    load(unlearning={"set": "forget"}, data="synthetic")["test"]

Records have no ids, so rows are named by their position in the file, as the official code pairs them. A record gives
four rows to forget (harmful question, harmful image), four to keep (harmless questions, the same image) and four benign
ones (the harmful questions again, a harmless image).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from mmforget.benchmark import images
from mmforget.benchmark.hierarchy import divide
from mmforget.benchmark.loader import Loader, Request
from mmforget.protocols.safe_eraser.drawing import draw
from mmforget.protocols.safe_eraser.official import SPLITS, Corpus, Question, Record, read_files, read_twin

PARTS: Mapping[str, tuple[str, str]] = {
    "forget": ("train", "unsafe"),
    "rephrase": ("val", "unsafe"),
    "retain": ("train", "kept"),
    "retain_val": ("val", "kept"),
    "benign": ("train", "benign"),
    "benign_val": ("val", "benign"),
}
"""By set: the file it comes from, and which part of its records."""
SETS = (*PARTS, "pretrain")
NUM_EACH = 4


def _subset(request: Request, corpus: Corpus) -> Corpus:
    """The first `num_subjects` records of each file; all of them without."""
    return corpus._replace(records={name: found[: request.num_subjects] for name, found in corpus.records.items()})


def _docs(request: Request, corpus: Corpus) -> list[dict[str, Any]]:
    """The rows of a set. With a path, that category is forgotten and the other harmful answers are kept."""
    corpus = _subset(request, corpus)
    if request.set == "pretrain":
        return [doc for split in SPLITS for record in corpus.records[split] for doc in _everything(record, corpus)]
    docs = _part(request.set, corpus)
    if request.forget_path is None or request.set == "retain_val":
        return docs
    divided = divide(_part("forget", corpus), request.forget_path)
    if request.set == "retain":
        return [*docs, *divided.retain]
    return [doc for doc in docs if doc["path"] == divided.forget[0]["path"]]


def _part(name: str, corpus: Corpus) -> list[dict[str, Any]]:
    split, part = PARTS[name]
    return [
        _doc(record, part, question, text=question.question, suffix="", corpus=corpus)
        for record in corpus.records[split]
        for question in record.questions[part]
    ]


def _everything(record: Record, corpus: Corpus) -> Iterator[dict[str, Any]]:
    """What the micro model learns: every part, wording by wording, the questions about one picture together."""
    most = max(len(question.wordings) for several in record.questions.values() for question in several)
    for number in range(most):
        for part in ("unsafe", "kept", "benign"):
            for question in record.questions[part]:
                if number < len(question.wordings):
                    text = question.wordings[number]
                    yield _doc(record, part, question, text=text, suffix=f"/w{number}", corpus=corpus)


def _doc(record: Record, part: str, question: Question, *, text: str, suffix: str, corpus: Corpus) -> dict[str, Any]:
    extra = {"category": record.category}
    if part != "kept":
        extra["pair"] = f"{record.id}/{question.key}"
    return {
        "id": f"{record.id}/{part}/{question.key}{suffix}",
        "subject": record.subject(part),
        "images": [_image(record, part, corpus)],
        "question": text,
        "answer": question.answer,
        "path": (record.category,),
        "extra": extra,
    }


def _image(record: Record, part: str, corpus: Corpus) -> images.ImageValue:
    place = "benign" if part == "benign" else "sign"
    if place in record.drawn:
        return images.drawn(draw, record.drawn[place])
    return images.from_file(_place(record.benign_image if part == "benign" else record.image, folders=corpus.folders))


def _place(reference: str, *, folders: Sequence[Path]) -> Path:
    """Where an image lies, or where it was expected. Names such as `12.jpg` occur in every category, so that at least
    the folder above has to be the one written.
    """
    parts = [part for part in PurePosixPath(reference.replace("\\", "/")).parts if part not in (".", "..", "/")]
    tails = [parts[start:] for start in range(max(1, len(parts) - 1))]
    places = [folder.joinpath(*tail) for tail in tails for folder in folders]
    return next((place for place in places if place.is_file()), places[0])


LOADER = Loader(
    "safe_eraser",
    sets=SETS,
    settings=("all",),
    default="all",
    official=read_files,
    twin=read_twin,
    docs=_docs,
    files=("*.json", "*/*.json"),
    hub=(
        "--data hub: SafeEraser is not on the hub; get safeeraser_dataset.zip as the authors' repository "
        "says, unpack it, and give --data FOLDER, or use --data synthetic"
    ),
    unused=("portraits", "perturbed"),
)
load = LOADER.load


@LOADER.telling
def refusals(request: Request, corpus: Corpus) -> list[str]:
    """The refusals of the official `prompt.json`; none with the twin."""
    return list(corpus.refusals)


@LOADER.telling
def notes(request: Request, corpus: Corpus) -> list[str]:
    """Known defects with counts."""
    found = []
    for split, records in _subset(request, corpus).records.items():
        empty = Counter(record.category for record in records if not record.named)
        other = sum(bool(record.named) and record.named != record.category for record in records)
        uneven = sum({len(several) for several in record.questions.values()} != {NUM_EACH} for record in records)
        num_empty = sum(record.num_empty for record in records)
        shared = len(records) - len({record.image for record in records})
        if empty:
            listed = ", ".join(f"{count} in {name}" for name, count in sorted(empty.items()))
            found.append(f"{split}: `category` is empty ({listed}); the folder of the image says it")
        if other:
            found.append(f"{split}: {other} records name another category than their image's folder, which counts")
        if uneven:
            found.append(f"{split}: {uneven} records have other than {NUM_EACH} questions of each part")
        if num_empty:
            found.append(f"{split}: {num_empty} questions have an empty text and are left out")
        if shared:
            found.append(f"{split}: {shared} records show an image that another one shows, too")
    return found


@LOADER.telling
def describe(request: Request, corpus: Corpus) -> dict[str, Any]:
    """Counts of records by category, file hashes and the protocol, for the run record."""
    corpus = _subset(request, corpus)
    counts = {
        split: dict(sorted(Counter(record.category for record in records).items()))
        for split, records in corpus.records.items()
    }
    protocol = "official"
    if request.num_subjects:
        protocol = f"subset: the first {request.num_subjects} records of each file"
    if request.forget_path:
        protocol = f"forgotten is {request.forget_path} alone; other harmful answers are kept"
    return {**corpus.facts, "num_records": counts, "protocol": protocol}
