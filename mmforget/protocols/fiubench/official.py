"""FIUBench's official files, their text-only variant or the twin's records, read and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmforget.benchmark.files import find_image, first_file, folders_of, read_id_lists, read_records, read_refusals
from mmforget.benchmark.hub import fetch, unpack
from mmforget.benchmark.loader import Origin
from mmforget.errors import BadData, UserError
from mmforget.protocols.fiubench import twin
from mmforget.protocols.fiubench.people import Person, group_rows, person_from, repeated_ids, split_faults
from mmforget.results.fingerprint import hash_file

REPO = "gray311/FIUBench"
HUB_FILES = ("full.json", "split.json", "idontknow.json", "prompt.json", "SFHQ.zip")
SETTINGS = ("forget1", "forget5", "forget10")
SPLITS = (*SETTINGS, "retain5")
NUM_PEOPLE = 400


class Corpus(NamedTuple):
    """Everything the files say, before any choice of set."""

    trained: tuple[Person, ...]
    holdout: tuple[Person, ...]
    split: Mapping[str, tuple[str, ...]]
    refusals: tuple[str, ...]
    folders: tuple[Path, ...]
    facts: Mapping[str, Any]


def read_hub(origin: Origin) -> Corpus:
    """The files of the pinned revision, whose pictures are packed."""
    snapshot = fetch(REPO, revision=origin.revision, patterns=HUB_FILES)
    archive = snapshot.folder / "SFHQ.zip"
    unpacked = (unpack(archive, commit=snapshot.commit),) if archive.is_file() else ()
    corpus = _read([snapshot.folder, *unpacked])
    return corpus._replace(facts={**corpus.facts, "repo": REPO, "commit": snapshot.commit})


def read_files(origin: Origin) -> Corpus:
    """The files at a path or in a clone of the repository there."""
    return _read(folders_of(origin.data))


def read_twin(seed: int) -> Corpus:
    """The twin's records, put through the same checks."""
    records = twin.records(seed=seed)
    faults: list[str] = []
    people = [(record["holdout"], person_from(record, label="synthetic record", faults=faults)) for record in records]
    trained = tuple(person for is_outside, person in people if person and not is_outside)
    holdout = tuple(person for is_outside, person in people if person and is_outside)
    split = {name: tuple(ids) for name, ids in twin.splits(records).items()}
    if faults:
        raise BadData("synthetic people", faults=faults)
    return Corpus(trained, holdout, split, (), (), {"has_images": True, "generator_seed": seed})


def _read(folders: Sequence[Path]) -> Corpus:
    main = first_file(folders, ("full.json",))
    text_only = first_file(folders, ("qa_text.json", "text_only_variants_template1.json"))
    source, splits = main or text_only, first_file(folders, ("split.json",))
    if source is None or splits is None:
        raise UserError(
            f"{folders[0]}: no FIUBench files; needed: split.json and full.json (or qa_text.json, the text-only "
            "variant), in this folder or in dataset/ below it"
        )
    faults: list[str] = []
    records = read_records(source)
    if source is text_only:
        records = group_rows(records, source=source.name, faults=faults)
    people = [
        person_from(record, label=f"{source.name} record {i}", faults=faults)
        for i, record in enumerate(records, start=1)
    ]
    split = read_id_lists(splits, names=SPLITS, faults=faults)
    ids = [str(record.get("unique_id")) for record in records if isinstance(record, Mapping)]
    faults += repeated_ids(ids, source=source.name)
    faults += split_faults(split, ids=ids[:NUM_PEOPLE], source=splits.name)
    has_images = _find_images(people, folders=folders, source=source.name, faults=faults)
    if faults:
        raise BadData(str(source.parent), faults=list(dict.fromkeys(faults)))
    known = [person for person in people if person is not None]
    prompts = first_file(folders, ("prompt.json", "idontknow.json"))
    files = [path for path in (source, splits, prompts) if path is not None]
    return Corpus(
        tuple(known[:NUM_PEOPLE]),
        tuple(known[NUM_PEOPLE:]),
        split,
        read_refusals(prompts) if prompts else (),
        tuple(folder for folder in folders if folder.is_dir()),
        {"has_images": has_images, "sha256": {path.name: hash_file(path) for path in files}},
    )


def _find_images(people: Sequence[Person | None], *, folders: Sequence[Path], source: str, faults: list[str]) -> bool:
    """Whether any image is there: none at all is another kind of data, some missing are faults of the rows.

    Those that may be several files go to `faults`.
    """
    is_any = False
    for number, person in enumerate(people, start=1):
        try:
            is_any |= bool(person and person.image and find_image(person.image, folders=folders).is_file())
        except UserError as error:
            faults.append(f"{source} record {number}: {error}")
    return is_any
