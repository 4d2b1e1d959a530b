"""RWKU's files: those of all targets, or a folder for each target; what is missing or lacking is counted."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mmforget.benchmark.files import read_records
from mmforget.benchmark.hub import fetch
from mmforget.benchmark.loader import Origin
from mmforget.errors import BadData, UserError
from mmforget.protocols.rwku import records
from mmforget.protocols.rwku.records import Passage, Question
from mmforget.results.fingerprint import hash_file

REPO = "jinzhuoran/RWKU"
FIRST = "forget_level1.json"


class File(NamedTuple):
    """One of the files: its name, what a record becomes, the fields it needs, and what is missing without it."""

    name: str
    make: Callable[[Mapping[str, Any]], Any]
    needed: tuple[str, ...]
    without: str = ""


PROBE = ("subject", "query", "answer")
FILES = {
    "forget_level1": File(FIRST, partial(records.probe, ask="blank"), PROBE),
    "forget_level2": File("forget_level2.json", records.probe, PROBE),
    "forget_level3": File(
        "forget_level3.json", partial(records.probe, ask="attack"), PROBE, without="adversarial probes"
    ),
    "neighbour_level1": File("neighbor_level1.json", partial(records.probe, ask="blank"), PROBE),
    "neighbour_level2": File("neighbor_level2.json", records.probe, PROBE),
    "mia_forget": File("forget_mia.json", records.passage, ("text",), without="membership inference on the targets"),
    "mia_retain": File("retain_mia.json", records.passage, ("text",), without="membership inference on others"),
    "general": File("retain_mmlu.json", records.general, ("question", "list:choices"), without="general ability"),
    "reason": File("retain_bbh.json", records.reason, ("question",), without="reasoning"),
    "truthfulness": File("truthful.json", records.truthfulness, ("question",), without="truthfulness"),
    "factuality": File("triviaqa.json", records.factuality, ("question", "list:answers"), without="factuality"),
    "fluency": File("fluency.json", records.fluency, ("instruction",), without="fluency"),
}
CORPORA = (
    File("pair.json", records.biography, ("subject", "prompt", "list:response")),
    File("positive.json", records.passage, ("subject", "text")),
    File("passage.json", records.passage, ("subject", "text")),
)
"""What methods train on: the first of these that is there. What the model told and made up of a target; what it told;
what others wrote."""
HUB_FILES = tuple(f"All/{file.name}" for file in (*FILES.values(), CORPORA[-1]))
"""The corpora that models wrote have hundreds of megabytes."""
REQUIRED = tuple(name for name, file in FILES.items() if not file.without)


class Corpus(NamedTuple):
    """Everything the files say, before any choice of set or target.

    Attributes:
        targets: in the order of the files.
        questions: by set, probes and what everybody knows.
        passages: by set, texts whose log-likelihood is asked.
        lessons: what methods train on, of each target: questions or texts.
        taught: what the micro model is taught; empty: the probes of levels 1 and 2.
        notes: what is missing, lacking or odd, each counted.
        facts: for the record.
    """

    targets: tuple[str, ...]
    questions: Mapping[str, tuple[Question, ...]]
    passages: Mapping[str, tuple[Passage, ...]]
    lessons: tuple[Question | Passage, ...]
    taught: tuple[Question | Passage, ...]
    notes: tuple[str, ...]
    facts: Mapping[str, Any]


def read_hub(origin: Origin) -> Corpus:
    """The files of all targets at the pinned revision."""
    snapshot = fetch(REPO, revision=origin.revision, patterns=HUB_FILES)
    corpus = _read(_folders(Path(snapshot.folder)))
    return corpus._replace(facts={**corpus.facts, "repo": REPO, "commit": snapshot.commit})


def read_files(origin: Origin) -> Corpus:
    """The files at a path. Raises UserError where it holds none."""
    return _read(_folders(Path(origin.data)))


def _folders(path: Path) -> list[Path]:
    """The folder of all targets' files, or those of single targets in the order of their numbers."""
    folder = path.parent if path.is_file() else path
    for place in (folder, folder / "All", folder / "Target"):
        if (place / FIRST).is_file():
            return [place]
        single = [one.parent for one in place.glob(f"*/{FIRST}")] if place.is_dir() else []
        if single and place.name != "All":
            # `All` and `Target` stand side by side in the official data.
            single = [one for one in single if one.name not in ("All", "Target")]
        if single:
            return sorted(single, key=_by_number)
    raise UserError(
        f"{folder}: no RWKU files; needed: {FIRST} and the others of one target, in this folder, in folders such as "
        "1_Stephen_King below it or below Target, or those of all targets in All"
    )


def _by_number(folder: Path) -> tuple[int, str]:
    found = re.match(r"\d+", folder.name)
    return (int(found.group()) if found else 0, folder.name)


def _read(folders: Sequence[Path]) -> Corpus:
    reader = _Reader(folders)
    found = {name: reader.read(file) for name, file in FILES.items()}
    corpus = next((file for file in CORPORA if reader.has(file)), None)
    lessons = reader.read(corpus) if corpus else []
    reader.lack_required()
    if reader.faults:
        raise BadData(str(folders[0]), faults=reader.faults)
    questions = {name: tuple(rows) for name, rows in found.items() if not name.startswith("mia_")}
    for name in ("forget_level1", "forget_level2", "forget_level3", "neighbour_level1", "neighbour_level2"):
        reader.notes += records.repeated(questions[name], name=FILES[name].name)
    reader.notes += records.unknown_attacks(questions["forget_level3"], name=FILES["forget_level3"].name)
    if corpus is None:
        names = ", ".join(file.name for file in CORPORA)
        reader.notes.append(
            f"there is none of {names}: methods train on the probes of levels 1 and 2 themselves, which is not the "
            "protocol"
        )
    facts = {"sha256": reader.hashes, "corpus": corpus.name if corpus else "the probes themselves"}
    return Corpus(
        tuple(dict.fromkeys(one.subject for one in (*found["forget_level1"], *found["forget_level2"]))),
        questions,
        {name: tuple(rows) for name, rows in found.items() if name.startswith("mia_")},
        tuple(lessons),
        (),
        tuple(reader.notes),
        facts,
    )


class _Reader:
    """Reads files of one name in all folders; what is wrong, missing or used is kept."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders
        self.faults: list[str] = []
        self.notes: list[str] = []
        self.hashes: dict[str, str] = {}

    def has(self, file: File) -> bool:
        return any((folder / file.name).is_file() for folder in self.folders)

    def read(self, file: File) -> list[Any]:
        """The rows of a file, of all folders in turn; none where it is missing."""
        paths = [folder / file.name for folder in self.folders if (folder / file.name).is_file()]
        if not paths and file.without:
            self.notes.append(f"there is no {file.name}: {file.without} is left out")
        found = []
        for path in paths:
            name = path.name if len(self.folders) == 1 else f"{path.parent.name}/{path.name}"
            self.hashes[name] = hash_file(path)
            rows = read_records(path)
            made, checked = records.made(rows, file.make, name=name, needed=file.needed)
            self.faults += checked.faults
            self.notes += checked.notes(name, total=len(rows))
            found += made
        return found

    def lack_required(self) -> None:
        """A fault for each file without which there is no benchmark."""
        missing = [FILES[name].name for name in REQUIRED if not self.has(FILES[name])]
        if missing:
            self.faults.append(f"{', '.join(missing)}: not there; needed beside {FIRST}")
