"""WMDP's official questions, MMLU's beside them, and texts of the user's to forget and to keep: read and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmforget.benchmark.files import folders_of
from mmforget.benchmark.hub import fetch
from mmforget.benchmark.loader import Origin
from mmforget.benchmark.tables import ENDINGS, read_table, read_texts, table_files
from mmforget.errors import BadData, UserError
from mmforget.protocols.wmdp.records import Choice, choice_from
from mmforget.results.fingerprint import hash_file

REPO = "cais/wmdp"
TOPICS = {"bio": "biology", "cyber": "cybersecurity", "chem": "chemistry"}
"""What lm_eval says that a topic's questions are about."""
CARD_COUNTS = {"bio": 1273, "cyber": 1987, "chem": 408}
MMLU, RETAIN = "mmlu", "corpora/retain"
FORGET = {"bio": "corpora/bio_forget", "cyber": "corpora/cyber_forget"}
PATTERNS = tuple(f"{place}*.{ending}" for place in ("", "*/", "data/*/") for ending in ENDINGS)


class Corpus(NamedTuple):
    """Everything the files say.

    Attributes:
        questions: by topic, and MMLU's.
        texts: to forget by topic, and those to keep under `retain`.
        missing: files that are not there.
        facts: of the files, for the record.
    """

    questions: Mapping[str, tuple[Choice, ...]]
    texts: Mapping[str, tuple[str, ...]]
    missing: tuple[str, ...]
    facts: Mapping[str, Any]


def read_hub(origin: Origin) -> Corpus:
    """The questions of the pinned revision; there are no texts, and none of MMLU."""
    snapshot = fetch(REPO, revision=origin.revision, patterns=["wmdp-*/*"])
    corpus = _read([snapshot.folder])
    return corpus._replace(facts={**corpus.facts, "repo": REPO, "commit": snapshot.commit})


def read_files(origin: Origin) -> Corpus:
    """The files at a path, or in `data/` below it."""
    return _read(folders_of(origin.data))


def _read(folders: Sequence[Path]) -> Corpus:
    asked = {topic: _first(folders, f"wmdp-{topic}/test", f"wmdp-{topic}", topic) for topic in TOPICS}
    if not any(asked.values()):
        raise UserError(
            f"{folders[0]}: no WMDP files; needed: wmdp-bio, wmdp-cyber or wmdp-chem (.json, .jsonl or .parquet, or a "
            "folder with test-*.parquet as on the Hub), in this folder or in data/ below it"
        )
    asked[MMLU] = _first(folders, "mmlu/test", MMLU)
    told = {topic: table_files(folders, name) for topic, name in FORGET.items()}
    told["retain"] = table_files(folders, RETAIN)
    faults: list[str] = []
    questions = {name: _questions(files, name=name, faults=faults) for name, files in asked.items()}
    texts = {name: read_texts(files, label=f"corpora/{name}", faults=faults) for name, files in told.items()}
    used = [path for files in (*asked.values(), *told.values()) for path in files]
    if faults:
        raise BadData(str(folders[0]), faults=faults)
    missing = [f"wmdp-{name}" if name in TOPICS else name for name, files in asked.items() if not files]
    missing += [FORGET.get(name, RETAIN) for name, files in told.items() if not files]
    facts = {"sha256": {f"{path.parent.name}/{path.name}": hash_file(path) for path in used}}
    return Corpus(questions, texts, tuple(missing), facts)


def _first(folders: Sequence[Path], *names: str) -> list[Path]:
    return next((files for name in names if (files := table_files(folders, name))), [])


def _questions(files: Sequence[Path], *, name: str, faults: list[str]) -> tuple[Choice, ...]:
    rows = enumerate(read_table(files), start=1)
    return tuple(choice_from(row, label=f"{name} row {number}", faults=faults) for number, row in rows)
