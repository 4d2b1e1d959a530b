"""MUSE's official files of one corpus, read and checked: documents, questions with their examples, beginnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmforget.benchmark.files import folders_of
from mmforget.benchmark.hub import fetch
from mmforget.benchmark.loader import Origin
from mmforget.benchmark.tables import ENDINGS, read_table, read_texts, table_files, text_of
from mmforget.errors import BadData, UserError
from mmforget.results.fingerprint import hash_file

REPOS = {"news": "muse-bench/MUSE-News", "books": "muse-bench/MUSE-Books"}
NUM_FOLDS = 4
SCALED = tuple(f"scal/forget_{fold}" for fold in range(1, NUM_FOLDS + 1))
SEQUENCE = tuple(f"sust/forget_{fold}" for fold in range(1, NUM_FOLDS + 1))
TRAINED = ("train/forget", "train/retain1", "train/retain2")
DOCUMENTS = ("raw/forget", "raw/retain1", "raw/retain2", "privleak/forget", "privleak/holdout", *SCALED, *SEQUENCE)
QUESTIONS = ("knowmem/forget_qa", "knowmem/retain_qa")
EXAMPLES = {name: f"{name}_icl" for name in QUESTIONS}
BEGINNINGS = "verbmem/forget"
NEEDED = ("raw/forget", "raw/retain1")
CARD_COUNTS = {
    "raw/forget": 889, "raw/retain1": 1777, "raw/retain2": 1778, "knowmem/forget_qa": 100, "knowmem/retain_qa": 100,
    "knowmem/forget_qa_icl": 10, "knowmem/retain_qa_icl": 10, "privleak/forget": 100, "privleak/holdout": 100,
    "scal/forget_1": 889, "scal/forget_2": 1778, "scal/forget_3": 2667, "scal/forget_4": 3554,
    "sust/forget_1": 889, "sust/forget_2": 889, "sust/forget_3": 889, "sust/forget_4": 887, "train/forget": 3554,
}  # fmt: skip
"""Rows of MUSE-News by its data set card; those of MUSE-Books are not known here."""
PATTERNS = tuple(f"{place}*/*.{ending}" for place in ("", "*/", "data/*/") for ending in ENDINGS)


class Pair(NamedTuple):
    """A question with its answer, or a beginning with what follows.

    Attributes:
        subject: whom it is about; the empty text where the files do not say.
        keywords: what gives the answer away; none where the files do not say.
        wordings: of the question, as the twin trains them; none where it is not trained.
    """

    question: str
    answer: str
    subject: str = ""
    keywords: tuple[str, ...] = ()
    wordings: tuple[str, ...] = ()


class Corpus(NamedTuple):
    """What the files of one corpus say, by their names without ending.

    Attributes:
        documents: texts.
        subjects: of the documents, in the same order; none where each is its own.
        pairs: questions, the examples shown before them, and beginnings.
        further: rows of stage one beside the documents: what the twin teaches, and no official file has.
        missing: files that are not there.
        facts: of the files, for the record.
    """

    documents: Mapping[str, tuple[str, ...]]
    subjects: Mapping[str, tuple[str, ...]]
    pairs: Mapping[str, tuple[Pair, ...]]
    further: bool
    missing: tuple[str, ...]
    facts: Mapping[str, Any]


Corpora = Mapping[str, Corpus]


def corpus_name(setting: str) -> str:
    """The corpus of a setting: `news` of `news_scal2`."""
    return setting.split("_")[0]


def read_hub(origin: Origin) -> Corpora:
    """The files of the pinned revision."""
    name = corpus_name(origin.setting)
    snapshot = fetch(REPOS[name], revision=origin.revision, patterns=["*/*.parquet", "*/*.json", "*/*.jsonl"])
    corpus = _read([snapshot.folder], name=name)
    return {name: corpus._replace(facts={**corpus.facts, "repo": REPOS[name], "commit": snapshot.commit})}


def read_files(origin: Origin) -> Corpora:
    """The files at a path, or in `news/` or `books/` below it or its `data/`."""
    name = corpus_name(origin.setting)
    folders = folders_of(origin.data)
    return {name: _read([*(folder / name for folder in folders), *folders], name=name)}


def _read(folders: Sequence[Path], *, name: str) -> Corpus:
    files = {table: table_files(folders, table) for table in _tables()}
    if lacking := [table for table in NEEDED if not files[table]]:
        raise UserError(
            f"{folders[-3] if len(folders) > 1 else folders[0]}: no MUSE files of {name}: {' and '.join(lacking)} "
            f"(.json, .jsonl, .txt or .parquet) are not there; give the folder that holds raw/, knowmem/, verbmem/ and "
            f"privleak/, or the one above {name}/"
        )
    faults: list[str] = []
    documents = {table: read_texts(files[table], label=table, faults=faults) for table in (*DOCUMENTS, *TRAINED)}
    named = {**dict.fromkeys((*QUESTIONS, *EXAMPLES.values()), ("question", "answer")), BEGINNINGS: ("prompt", "gt")}
    pairs = {table: _pairs(files[table], table=table, names=names, faults=faults) for table, names in named.items()}
    used = [path for paths in files.values() for path in paths]
    if faults:
        raise BadData(str(used[0].parent.parent), faults=faults)
    missing = tuple(table for table in _tables() if not files[table] and (name == "news" or not _is_fold(table)))
    facts = {"sha256": {f"{path.parent.name}/{path.name}": hash_file(path) for path in used}}
    return Corpus(documents, {}, pairs, False, missing, facts)


def _tables() -> tuple[str, ...]:
    return (*DOCUMENTS, *TRAINED, *QUESTIONS, *EXAMPLES.values(), BEGINNINGS)


def _is_fold(table: str) -> bool:
    """Books have no folds."""
    return table in (*SCALED, *SEQUENCE)


def _pairs(files: Sequence[Path], *, table: str, names: tuple[str, str], faults: list[str]) -> tuple[Pair, ...]:
    found = []
    for number, row in enumerate(read_table(files), start=1):
        question, answer = (text_of(row, name, label=f"{table} row {number}", faults=faults) for name in names)
        found.append(Pair(question, answer))
    return tuple(found)
