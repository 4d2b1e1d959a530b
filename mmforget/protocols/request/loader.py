"""A request's folder, or the synthetic twin, as Rows.

    load(unlearning={"set": "forget"}, data="FOLDER")["test"]

Nothing is published: what stands in `FOLDER/request.yaml` decides (`mmforget.benchmark.own`).
"""

from __future__ import annotations

from typing import Any

from mmforget.benchmark.loader import Loader, Origin, Request
from mmforget.benchmark.own.corpus import Corpus, read_folder
from mmforget.benchmark.own.rows import SETS, docs_of, without_picture
from mmforget.protocols.request import twin

PATTERNS = ("*.yaml", "**/*.csv", "**/*.tsv", "**/*.txt", "**/*.jsonl", "**/*.json", "*.*")
MAX_FILES = 2000
"""Files that are looked at for changes, pictures of subfolders aside."""


def _read(origin: Origin) -> Corpus:
    return read_folder(origin.data)


def _docs(request: Request, corpus: Corpus) -> list[dict[str, Any]]:
    return docs_of(corpus, set_name=request.set, modality=request.modality)


LOADER = Loader(
    "request",
    sets=SETS,
    settings=("all",),
    default="all",
    official=_read,
    twin=twin.corpus,
    docs=_docs,
    files=PATTERNS,
    hub=(
        "--data hub: a request's data are your own; give --data FOLDER with a request.yaml, as 'mmforget new request "
        "FOLDER' writes it, or use --data synthetic"
    ),
    has_text_twin=True,
    max_files=MAX_FILES,
    unused=("num_subjects", "forget_path", "portraits", "perturbed", "revision"),
)
load = LOADER.load


@LOADER.telling
def notes(request: Request, corpus: Corpus) -> list[str]:
    """What was guessed and what was left out, counted."""
    found = list(corpus.notes)
    count = without_picture(corpus)
    if count and request.modality == "image":
        found.append(f"{count} rows without a picture: left out; request_text asks all rows in words alone")
    return found


@LOADER.telling
def describe(request: Request, corpus: Corpus) -> dict[str, Any]:
    """Who asked, who is forgotten, counts and the hash of the file that says so, for the run record."""
    spec = corpus.spec
    counts = {"forget": corpus.forget, "keep": corpus.keep}
    told: dict[str, Any] = {
        "request": {name: getattr(spec, name) for name in ("title", "asked_by", "asked_on") if getattr(spec, name)},
        "forgets": sorted({entry.subject for entry in corpus.forget}),
        "num_subjects": {name: len({one.subject for one in part}) for name, part in counts.items()},
        "num_questions": {name: len(part) for name, part in counts.items()},
        "left_out": notes(unlearning={"set": request.set, "modality": request.modality}, data=request.data),
        "protocol": "a request of one's own",
    }
    return told
