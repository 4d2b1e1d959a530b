"""MedForget's official parquet files or the twin's records, read and checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmforget.benchmark.files import is_hidden
from mmforget.benchmark.loader import Origin
from mmforget.errors import BadData, UserError
from mmforget.protocols.medforget import twin
from mmforget.protocols.medforget.records import MedicalQuestion, Reader
from mmforget.protocols.medforget.scans import Scan
from mmforget.results.fingerprint import hash_file


class Question(NamedTuple):
    """One question, and of the twin's its scan and which wording it is; official ones bring their picture."""

    said: MedicalQuestion
    scan: Scan | None = None
    wording: int = 0

    @property
    def path(self) -> tuple[str, ...]:
        return self.said.path


class Corpus(NamedTuple):
    """Everything the files say, before any choice of set.

    `asked` is what forget and retain sets are cut from where a path says what to forget; `forget` and `retain` are the
    files' own, or None where there are none.
    """

    full: tuple[Question, ...]
    asked: tuple[Question, ...]
    forget: tuple[Question, ...] | None
    retain: tuple[Question, ...] | None
    rephrase: tuple[Question, ...]
    facts: Mapping[str, Any]
    remarks: tuple[str, ...]


def read_twin(seed: int) -> Corpus:
    """The twin's records, put through the same checks."""
    records, reader = twin.records(seed=seed), Reader([], Counter())
    scans = [Scan.from_dict(record["scan"]) for record in records]
    found = [
        Question(said, scans[said.row], records[said.row]["wording"])
        for said in reader.questions(records, source="synthetic record", with_images=False)
    ]
    if reader.faults:
        raise BadData("synthetic hospitals", faults=reader.faults)
    full = tuple(question for question in found if question.wording < twin.NUM_WORDINGS)
    asked = tuple(question for question in full if question.wording == 0)
    held_out = tuple(question for question in found if question.wording >= twin.NUM_WORDINGS)
    return Corpus(full, asked, None, None, held_out, {"generator_seed": seed}, ())


def read_files(origin: Origin) -> Corpus:
    """The parquet files of a setting's level and those for training."""
    folder, setting = Path(origin.data), origin.setting
    if not folder.is_dir():
        raise UserError(f"{folder}: give the folder that holds the official files, not one of them")
    level, training = folder / f"{setting}_level", _training_file(folder)
    paths = {name: _split_file(level, name) for name in ("forget", "retain", "rephrase")}
    if training is None and (paths["forget"] is None or paths["retain"] is None):
        raise UserError(
            f"{folder}: no MedForget files; needed: {level.name}/forget_set_all.parquet and retain_set_all.parquet, "
            "and the training parquet beside the level folders"
        )
    reader, remarks = Reader([], Counter()), list[str]()
    parts = {name: None if path is None else tuple(map(Question, reader.file(path))) for name, path in paths.items()}
    if training is not None:
        full = tuple(map(Question, reader.file(training)))
    else:
        full = (*(parts["forget"] or ()), *(parts["retain"] or ()))
        remarks.append(f"no training parquet: stage one learns {level.name}'s forget and retain files together")
    if parts["rephrase"] is None:
        remarks.append(f"no rephrased questions in {level.name}: the rephrase tasks are left out")
    if reader.faults:
        raise BadData(str(folder), faults=reader.faults)
    files = [path for path in (training, *paths.values()) if path is not None]
    facts = {"sha256": {str(path.relative_to(folder)): hash_file(path) for path in files}}
    rephrase = parts["rephrase"] or ()
    return Corpus(full, full, parts["forget"], parts["retain"], rephrase, facts, (*remarks, *reader.remarks()))


def _training_file(folder: Path) -> Path | None:
    """The parquet file with everything the target model learns: the only one there, or `train*` or `full*`."""
    found = sorted(path for path in folder.glob("*.parquet") if not is_hidden(path, below=folder))
    named = [path for path in found if path.name.startswith(("train", "full"))]
    chosen = found if len(found) == 1 else named
    if len(chosen) > 1 or (found and not chosen):
        names = ", ".join(path.name for path in found)
        raise UserError(f"{folder}: which parquet file is for training ({names})? Name one of them train.parquet")
    return chosen[0] if chosen else None


def _split_file(folder: Path, name: str) -> Path | None:
    """`<name>_set_all.parquet`, or the only `<name>_set_*.parquet`. Rephrased forget rows may also be named so."""
    found = sorted(folder.glob(f"{name}_set_*.parquet"))
    if name == "rephrase":
        found += sorted(folder.glob("rephrased_set_*.parquet")) + sorted(folder.glob("forget_set_rephrase*.parquet"))
    elif name == "forget":
        found = [path for path in found if not path.name.startswith("forget_set_rephrase")]
    for path in found:
        if len(found) == 1 or path.name == f"{name}_set_all.parquet":
            return path
    if found:
        names = ", ".join(path.name for path in found)
        raise UserError(f"{folder}: several {name} sets ({names}), none of them '{name}_set_all.parquet'; keep one")
    return None
