"""MUSE (arXiv 2407.06460): official files, or the synthetic twin, as Rows.

    load(unlearning={"set": "knowmem_forget", "setting": "news"}, data="synthetic")["test"]

What methods train on are documents; what is asked are questions about them, their beginnings, and whether a document
was among them. Settings `news_scal2` to `4` forget two to four folds of the news at once, `news_sust2` to `4` one fold
more, of a model that has forgotten those before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmforget.benchmark.loader import Loader, Request
from mmforget.benchmark.source import Asked, LoadOptions
from mmforget.benchmark.tables import repeated
from mmforget.errors import UserError
from mmforget.protocols.muse import twin
from mmforget.protocols.muse.official import (
    BEGINNINGS,
    CARD_COUNTS,
    EXAMPLES,
    NUM_FOLDS,
    PATTERNS,
    QUESTIONS,
    TRAINED,
    Corpora,
    Corpus,
    Pair,
    corpus_name,
    read_files,
    read_hub,
)
from mmforget.protocols.muse.prompts import KNOWLEDGE, examples_of

FOLDS = {f"{way}_{fold}": f"{way}/forget_{fold}" for way in ("scal", "sust") for fold in range(1, NUM_FOLDS + 1)}
DOCUMENT_SETS = {
    "forget": "raw/forget",
    "retain": "raw/retain1",
    "privleak_forget": "privleak/forget",
    "holdout": "privleak/holdout",
    **FOLDS,
}
QUESTION_SETS = dict(zip(("knowmem_forget", "knowmem_retain"), QUESTIONS, strict=True))
STAGE_ONE = {"full": TRAINED, "full_retain": TRAINED[1:]}
SETS = (*STAGE_ONE, *DOCUMENT_SETS, *QUESTION_SETS, "verbmem")
SETTINGS = ("news", "books", *(f"news_{name.replace('_', '')}" for name in FOLDS if not name.endswith("_1")))
NUM_TAUGHT = 4
"""Times that the twin's stage one has each document."""
Docs = Iterator[dict[str, Any]]


def _docs(request: Request, corpora: Corpora) -> Docs:
    corpus, name = corpora[corpus_name(request.setting)], request.set
    if name in STAGE_ONE:
        return _taught(corpus, name=name) if corpus.further else _trained(corpus, name=name)
    if name in QUESTION_SETS:
        return _questions(corpus, table=QUESTION_SETS[name])
    if name == "verbmem":
        return _beginnings(corpus, table=BEGINNINGS)
    return _documents(corpus, table=DOCUMENT_SETS[name])


def _documents(corpus: Corpus, *, table: str) -> Docs:
    texts = corpus.documents.get(table, ())
    names = corpus.subjects.get(table) or [_label(table, place) for place in range(len(texts))]
    for place, (text, name) in enumerate(zip(texts, names, strict=True)):
        yield {"id": _label(table, place), "subject": name, "text": text}


def _label(table: str, place: int) -> str:
    return f"{table}/{place:04d}"


def _questions(corpus: Corpus, *, table: str) -> Docs:
    """Each with the examples that are shown before it."""
    examples = examples_of((pair.question, pair.answer) for pair in corpus.pairs.get(EXAMPLES[table], ()))
    extra = {"ask": KNOWLEDGE, **({"examples": examples} if examples else {})}
    return (doc | {"extra": extra} for doc, _ in _paired(corpus, table=table))


def _beginnings(corpus: Corpus, *, table: str) -> Docs:
    return (doc for doc, _ in _paired(corpus, table=table))


def _paired(corpus: Corpus, *, table: str) -> Iterator[tuple[dict[str, Any], Pair]]:
    for place, pair in enumerate(corpus.pairs.get(table, ())):
        label = _label(table, place)
        said = {"question": pair.question, "answer": pair.answer, "keywords": list(pair.keywords)}
        yield {"id": label, "subject": pair.subject or label, **said}, pair


def _trained(corpus: Corpus, *, name: str) -> Docs:
    """The documents of stage one; of the raw ones where there is no `train/`."""
    for table in STAGE_ONE[name]:
        found = table if corpus.documents.get(table) else table.replace("train/", "raw/")
        yield from _documents(corpus, table=found)


def _taught(corpus: Corpus, *, name: str) -> Docs:
    """What the twin teaches: documents several times, what follows a beginning, and questions in each wording."""
    tables = STAGE_ONE[name]
    people = {subject for table in tables for subject in corpus.subjects[table]}
    for table in tables:
        for doc in _documents(corpus, table=table):
            yield from (doc | {"id": f"{doc['id']}/{again}"} for again in range(NUM_TAUGHT))
    for doc in _beginnings(corpus, table="train/beginnings"):
        if doc["subject"] in people:
            yield doc
    for table in QUESTIONS:
        for doc, pair in _paired(corpus, table=table):
            for number, text in enumerate(pair.wordings if pair.subject in people else ()):
                yield doc | {"question": text, "id": f"{doc['id']}/w{number}", "extra": {"ask": KNOWLEDGE}}


def _check(asked: Asked, options: LoadOptions) -> None:
    if asked.set in FOLDS and corpus_name(asked.setting or "news") == "books":
        raise UserError(f"MUSE has no folds of its books; the set '{asked.set}' is one of the news")


def _why_empty(request: Request) -> str:
    table = {**DOCUMENT_SETS, **QUESTION_SETS, "verbmem": BEGINNINGS}.get(request.set, "train/")
    return f"there is no {table} (.json, .jsonl, .txt or .parquet); leave the {request.set} tasks out"


LOADER = Loader(
    "muse",
    sets=SETS,
    settings=SETTINGS,
    default="news",
    official=read_files,
    twin=twin.corpora,
    docs=_docs,
    files=PATTERNS,
    hub=read_hub,
    has_files_by_setting=True,
    unused=("portraits", "perturbed", "num_subjects", "forget_path"),
    check=_check,
    why_empty=_why_empty,
)
load = LOADER.load


@LOADER.telling
def notes(request: Request, corpora: Corpora) -> list[str]:
    """Files that are missing, questions that stand twice, and tables of another length than the official one's."""
    name = corpus_name(request.setting)
    corpus = corpora[name]
    found = [f"there is no {table}" for table in corpus.missing]
    for table, pairs in corpus.pairs.items():
        if table in QUESTIONS:
            found += repeated([pair.question for pair in pairs], of=table)
    sizes = {**_sizes(corpus.documents), **_sizes(corpus.pairs)}
    if name == "news" and not corpus.further:
        found += [
            f"{table} has {sizes[table]} rows; the data set's card says {count}"
            for table, count in CARD_COUNTS.items()
            if sizes.get(table, 0) not in (0, count)
        ]
    return found


def _sizes(tables: Mapping[str, tuple[Any, ...]]) -> dict[str, int]:
    return {table: len(rows) for table, rows in tables.items()}


@LOADER.telling
def describe(request: Request, corpora: Corpora) -> dict[str, Any]:
    """Rows of each file, the resolved commit and hashes, for the run record."""
    corpus = corpora[corpus_name(request.setting)]
    sizes = {**_sizes(corpus.documents), **_sizes(corpus.pairs)}
    return {**corpus.facts, "rows": {table: size for table, size in sizes.items() if size}, "protocol": "official"}
