"""OFFSIDE's official files as `data.zip` unpacks them, or the twin's records, sorted into sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmforget.benchmark.files import is_hidden, read_records
from mmforget.benchmark.loader import Origin
from mmforget.errors import BadData, UserError
from mmforget.protocols.offside import twin
from mmforget.protocols.offside.records import Question, Reader
from mmforget.results.fingerprint import hash_file

STEMS: Mapping[str, tuple[str, ...]] = {
    "finetune": ("finetune_set", "enhanced_finetuneset", "enhanced_finetune_set"),
    "retain": ("retain_set",),
    "forget": ("forget_set",),
    "test": ("test_set",),
    "relearn": ("relearn_set_enhanced", "relearn_set"),
    "forget_part": ("forget_set_part",),
    "retain_part": ("retain_set_part",),
}
"""By set, how its file of messages may be called; of several the first counts."""
CHOICE_STEMS: Mapping[str, str] = {
    f"{name}_choice": f"classification_{name}_set" for name in ("forget", "retain", "test", "relearn")
}
PATTERNS = ("*.json", "*.jsonl", "*/*.json", "*/*.jsonl", "*/*/*.json", "*/*/*.jsonl")
"""Where files are looked for, below the folder."""


class Corpus(NamedTuple):
    """Everything the files say: questions by set, those in words alone apart (`forget_text`)."""

    sets: Mapping[str, tuple[Question, ...]]
    folders: tuple[Path, ...]
    facts: Mapping[str, Any]
    remarks: tuple[str, ...]

    def of(self, name: str) -> tuple[Question, ...]:
        return self.sets.get(name, ())


def read_twin(seed: int) -> Corpus:
    """The twin's records, put through the same checks."""
    reader = Reader([], Counter())
    sets: dict[str, tuple[Question, ...]] = {}
    for name, records in twin.records(seed=seed).items():
        is_choice = name.endswith("_choice")
        read = reader.choices if is_choice else reader.messages
        sets |= sorted_out(name.removesuffix("_words"), read(records, source=f"synthetic {name}"))
    if reader.faults:
        raise BadData("synthetic transfers", faults=reader.faults)
    # What a real model brings along is in the micro model's lessons: facts in words, and how options are chosen.
    sets["finetune"] += (*sets.pop("lessons_text"), *sets["forget_choice"], *sets["retain_choice"])
    return Corpus(sets, (), {"generator_seed": seed}, reader.remarks())


def read_files(origin: Origin) -> Corpus:
    """The files at a path and in folders below it. Raises UserError without them, BadData for broken records."""
    folder = Path(origin.data)
    if not folder.is_dir():
        raise UserError(f"{folder}: give the folder that holds the official files, not one of them")
    files = [path for pattern in PATTERNS for path in sorted(folder.glob(pattern)) if not is_hidden(path, below=folder)]
    reader, remarks = Reader([], Counter()), list[str]()
    sets: dict[str, tuple[Question, ...]] = {}
    used: dict[str, Path] = {}
    for name, stems in {**STEMS, **{key: (stem,) for key, stem in CHOICE_STEMS.items()}}.items():
        for path in _files_of(stems, files=files, remarks=remarks):
            label = str(path.relative_to(folder))
            read = reader.choices if name in CHOICE_STEMS else reader.messages
            for kind, found in sorted_out(name, read(read_records(path), source=label)).items():
                if sets.get(kind):
                    raise UserError(
                        f"{folder}: {label} and {used[kind].relative_to(folder)} both hold {kind}; keep one"
                    )
                sets[kind] = found
                used[kind] = path
    if reader.faults:
        raise BadData(str(folder), faults=reader.faults)
    _complete(sets, folder=folder, remarks=remarks)
    ignored = sorted(str(path.relative_to(folder)) for path in files if path not in used.values())
    if ignored:
        remarks.append(f"{len(ignored)} further JSON files are not read: {', '.join(ignored[:5])}")
    facts = {"sha256": {str(path.relative_to(folder)): hash_file(path) for path in sorted(set(used.values()))}}
    parents = dict.fromkeys([folder, *(path.parent for path in used.values())])
    return Corpus(sets, tuple(parents), facts, (*remarks, *reader.remarks()))


def sorted_out(name: str, questions: Iterable[Question]) -> dict[str, tuple[Question, ...]]:
    """The questions about pictures and those in words alone, whichever file both stand in."""
    listed = list(questions)
    parts = {
        name: tuple(one for one in listed if one.images),
        f"{name}_text": tuple(one for one in listed if not one.images),
    }
    return {key: found for key, found in parts.items() if found}


def _files_of(stems: Sequence[str], *, files: Sequence[Path], remarks: list[str]) -> list[Path]:
    """All files of the first name that there is, in whatever folders; multimodal and unimodal ones share names."""
    there = [stem for stem in stems if any(path.stem == stem for path in files)]
    if len(there) > 1:
        remarks.append(f"{there[0]} is read, and {', '.join(there[1:])} beside it is not")
    return [path for path in files if there and path.stem == there[0]]


def _complete(sets: dict[str, tuple[Question, ...]], *, folder: Path, remarks: list[str]) -> None:
    """What files are missing, from others: the number of a picture says its set. Raises UserError where that fails."""
    for suffix in ("", "_text"):
        pool = sets.get(f"finetune{suffix}", ())
        for name in ("retain", "forget", "relearn"):
            found = tuple(one for one in pool if one.split == name)
            if not sets.get(name + suffix) and found:
                sets[name + suffix] = found
                remarks.append(f"no {name}_set: {len(found):,} {name}{suffix} records by the numbers of the pictures")
    if not sets.get("forget") or not sets.get("retain"):
        raise UserError(
            f"{folder}: no OFFSIDE files with questions about pictures; needed: forget_set.json and retain_set.json, "
            "or finetune_set.json, here or up to two folders below, with the pictures they name"
        )
    if not sets.get("finetune"):
        sets["finetune"] = (*sets["retain"], *sets["forget"])
        remarks.append("no finetune_set: stage one learns the retain and the forget set together")
