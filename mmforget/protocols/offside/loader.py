"""OFFSIDE (arXiv 2510.22535): the official files, or the synthetic twin, as Rows.

    load(unlearning={"set": "forget", "setting": "selective"}, data="synthetic")["test"]

Records have no ids, so rows are named by their picture and by their place among its questions. Settings: `complete`
forgets all 14 questions about a rumour's picture, `selective` the 6 that are about the transfer, `corrective` is
complete and then learns what really happened, `unimodal` forgets by questions in words alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from mmforget.benchmark import images
from mmforget.benchmark.files import find_image
from mmforget.benchmark.loader import Loader, Request
from mmforget.benchmark.rows import PLACEHOLDER, conversation
from mmforget.protocols.offside.drawing import draw
from mmforget.protocols.offside.official import CHOICE_STEMS, PATTERNS, Corpus, read_files, read_twin
from mmforget.protocols.offside.records import Question
from mmforget.protocols.offside.values import TYPES

SETTINGS = ("complete", "selective", "corrective", "unimodal")
SETS = (
    "finetune", "retain_only", "forget", "shared", "retain", "test", "relearn", "forget_text", "retain_text",
    *CHOICE_STEMS,
)  # fmt: skip


def _docs(request: Request, corpus: Corpus) -> list[dict[str, Any]]:
    found = _questions(request.set, corpus, setting=request.setting)
    kept = {one.key for one in _shared(corpus)} if request.setting == "selective" else None
    return [_doc(one, subject=_subject(one, kept=kept), corpus=corpus) for one in found]


def _subject(question: Question, *, kept: Collection[tuple[str, str, str]] | None) -> str:
    """A rumour, or the player: what all of his pictures share is of the rumour only where all about it goes.

    Args:
        kept: keys of questions about a rumour's picture that are kept; None where none is.
    """
    is_kept = kept is not None and (question.key in kept or question.scope == "shared")
    return f"player_{question.player}" if question.split != "forget" or is_kept else f"rumour_{question.player}"


def _questions(name: str, corpus: Corpus, *, setting: str) -> Sequence[Question]:
    """The questions of a set. What is selective to be forgotten are those of the transfer alone."""
    is_selective = setting == "selective"
    if name == "retain_only":
        kept = _kept(corpus)
        return (*kept, *_shared(corpus)) if is_selective else kept
    if name == "shared":
        return _shared(corpus)
    if name == "forget" and is_selective:
        return _private(corpus)
    if name == "forget_choice" and is_selective:
        return [one for one in corpus.of(name) if one.scope == "private"]
    return corpus.of(name)


def _kept(corpus: Corpus) -> Sequence[Question]:
    """What the retain model learns: officially the retain set; of the twin's lessons those without a rumour."""
    if corpus.folders:
        return corpus.of("retain")
    rumoured = {(one.question, one.answer) for one in corpus.of("forget_text") if one.scope == "private"}
    pictures = {one.image_id for one in corpus.of("forget")}
    return [
        one
        for one in corpus.of("finetune")
        if (one.image_id not in pictures if one.images else (one.question, one.answer) not in rumoured)
    ]


def _private(corpus: Corpus) -> Sequence[Question]:
    """The questions about the transfer: those of `forget_set_part`, or without it those that ask so by their words."""
    return corpus.of("forget_part") or [one for one in corpus.of("forget") if one.scope == "private"]


def _shared(corpus: Corpus) -> Sequence[Question]:
    """The other questions about a rumour's picture; without `forget_set_part` only those known to be shared."""
    private = {one.key for one in corpus.of("forget_part")}
    if private:
        return [one for one in corpus.of("forget") if one.key not in private]
    return [one for one in corpus.of("forget") if one.scope == "shared"]


def _doc(question: Question, *, subject: str, corpus: Corpus) -> dict[str, Any]:
    kind = "" if question.images else "t"
    extra: dict[str, Any] = {"image_id": question.image_id}
    if question.attribute is not None:
        extra |= {"attribute": question.attribute, "scope": question.scope}
    if question.options:
        extra |= {"task": "classification"}
    if question.picture is not None:
        extra["is_visible"] = question.picture.strip is not None
    view = f"/v{question.view}" if question.view else ""
    return {
        "id": f"{question.image_id}/{kind}{'c' if question.options else ''}{question.number:02d}{view}",
        "subject": subject,
        "images": [_image(question, reference, corpus=corpus) for reference in question.images],
        "question": question.question,
        "answer": question.answer,
        "turns": question.turns,
        "extra": extra,
    }


def _image(question: Question, reference: str, *, corpus: Corpus) -> images.ImageValue:
    if question.picture is not None:
        return images.drawn(draw, question.picture, view=question.view)
    written = (folder / reference for folder in corpus.folders)
    there = next((place for place in written if place.is_file()), None)
    return images.from_file(there or find_image(reference, folders=corpus.folders[:1]))


LOADER = Loader(
    "offside",
    sets=SETS,
    settings=SETTINGS,
    default="complete",
    official=read_files,
    twin=read_twin,
    docs=_docs,
    files=PATTERNS,
    hub=(
        "--data hub: OFFSIDE's files on the hub (zh1218001/OFFSIDE) have no revision and no licence that could be "
        "verified, so nothing is fetched; unpack the data.zip of the authors' repository and give --data FOLDER, or "
        "use --data synthetic"
    ),
    unused=("num_subjects", "forget_path", "portraits", "perturbed", "revision"),
)
load = LOADER.load


def shown(doc: dict[str, Any]) -> str:
    """What is asked of a row: a tag for each picture and the question, or all messages of a conversation."""
    if doc.get("turns"):
        return conversation(doc)
    return f"{PLACEHOLDER}\n" * len(doc["images"]) + str(doc["question"])


@LOADER.telling
def notes(request: Request, corpus: Corpus) -> list[str]:
    """Known defects with counts, and what had to be reconstructed."""
    found = list(corpus.remarks)
    part, kept = corpus.of("forget_part"), corpus.of("retain_part")
    if request.setting == "selective" and not part:
        found.append("no forget_set_part: which questions are about the transfer follows from their words")
    if kept:
        known = {one.key for one in corpus.of("retain")}
        rumoured = {one.key for one in corpus.of("forget")}
        found.append(
            f"retain_set_part ({len(kept):,} records, {sum(one.key in known for one in kept):,} of them in retain_set, "
            f"{sum(one.key in rumoured for one in kept):,} in forget_set) is not used: officially `po` alone reads it"
        )
    typed = [one for one in corpus.of("forget") if one.attribute in TYPES]
    if not typed:
        found.append("no question to forget asks for a club, date, sum or count: attribute_match is unscored")
    return found


@LOADER.telling
def describe(request: Request, corpus: Corpus) -> dict[str, Any]:
    """Counts of pictures and questions by set, file hashes and the protocol, for the run record."""
    counts = {name: len(found) for name, found in sorted(corpus.sets.items())}
    pictures = {
        name: len({one.image_id for one in corpus.of(name)}) for name in ("retain", "forget", "test", "relearn")
    }
    facts = Counter(one.attribute or "unknown" for one in corpus.of("forget"))
    is_whole = request.setting != "selective" or corpus.of("forget_part")
    return {
        **corpus.facts,
        "num_questions": counts,
        "num_pictures": pictures,
        "facts_of_forget": dict(sorted(facts.items())),
        "protocol": "official" if is_whole else "private questions by their words (a reconstruction)",
    }
