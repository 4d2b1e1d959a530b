"""SafeEraser's official records or the twin's, read and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from mmforget.benchmark.files import first_file, folders_of, read_records, read_refusals
from mmforget.benchmark.loader import Origin
from mmforget.errors import BadData, UserError
from mmforget.pictures import single
from mmforget.protocols.safe_eraser import twin
from mmforget.protocols.safe_eraser.drawing import Scene
from mmforget.results.fingerprint import hash_file

SPLITS = ("train", "val")
KEPT = ("UnharmPair_text1", "UnharmPair_text2", "UnharmPair_image1", "UnharmPair_image2")


class Question(NamedTuple):
    """One question of a record: which it is, how it is asked, answered, and in which other wordings it is trained."""

    key: str
    question: str
    answer: str
    wordings: tuple[str, ...]


class Record(NamedTuple):
    """An official record.

    Attributes:
        named: its own `category`, which may be empty; `category` is the folder of its image.
        questions: by part: `unsafe`, `kept`, `benign`.
        num_empty: questions left out because a text is empty.
        drawn: how to draw `sign` and `benign`, instead of the files `image` and `benign_image`.
    """

    split: str
    position: int
    category: str
    named: str
    image: str
    benign_image: str
    questions: Mapping[str, tuple[Question, ...]]
    num_empty: int
    drawn: Mapping[str, Scene]

    @property
    def id(self) -> str:
        return f"{self.split}-{self.position:05d}"

    def subject(self, part: str) -> str:
        """What the picture of a part is called; two records may show the same one."""
        if part == "benign":
            return f"{self.category}-benign-{self.split}-{PurePosixPath(self.benign_image).stem}"
        return f"{self.category}-{PurePosixPath(self.image).stem}"


class Corpus(NamedTuple):
    """Everything the files say."""

    records: Mapping[str, tuple[Record, ...]]
    refusals: tuple[str, ...]
    folders: tuple[Path, ...]
    facts: Mapping[str, Any]


def read_twin(seed: int) -> Corpus:
    """The twin's records, put through the same checks."""
    return _parsed(twin.records(seed=seed), source="synthetic", facts={"generator_seed": seed})


def read_files(origin: Origin) -> Corpus:
    """The files at a path or in a clone of the repository there."""
    folders = folders_of(origin.data)
    folder = folders[0]
    files = {split: first_file(folders, (f"all_{split}.json",)) for split in SPLITS}
    if not all(files.values()):
        raise UserError(
            f"{folder}: no SafeEraser files; needed: all_train.json and all_val.json, in this folder or in dataset/ "
            "below it, with the images they name"
        )
    found = {split: file for split, file in files.items() if file is not None}
    prompts = first_file(folders, ("prompt.json",))
    hashed = [*found.values(), *([prompts] if prompts else [])]
    corpus = _parsed(
        {split: read_records(file) for split, file in found.items()},
        source=str(folder),
        facts={"sha256": {file.name: hash_file(file) for file in hashed}},
    )
    known = tuple(place for place in folders if place.is_dir())
    return corpus._replace(folders=known, refusals=read_refusals(prompts) if prompts else ())


def _parsed(raw: Mapping[str, Sequence[Any]], *, source: str, facts: Mapping[str, Any]) -> Corpus:
    faults: list[str] = []
    records = {
        split: tuple(_record(value, split=split, position=i, faults=faults) for i, value in enumerate(raw[split]))
        for split in SPLITS
    }
    faults += [f"all_{split}.json: holds no records" for split in SPLITS if not raw[split]]
    if faults:
        raise BadData(source, faults=faults)
    known = {split: tuple(record for record in found if record is not None) for split, found in records.items()}
    return Corpus(known, (), (), facts)


def _record(value: Any, *, split: str, position: int, faults: list[str]) -> Record | None:
    """A Record out of an official one; what is wrong goes to `faults`."""
    label = f"all_{split}.json record {position + 1}"
    if not isinstance(value, Mapping):
        faults.append(f"{label}: a record is a JSON object, not {type(value).__name__}")
        return None
    before = len(faults)
    named_image = single(value.get("image_path") or value.get("image_id"))
    image = _text(named_image, at=f"{label}: image_path (or image_id)", to=faults)
    benign = _text(single(value.get("SDImage_path")), at=f"{label}: SDImage_path", to=faults)
    named = str(value.get("category") or "").strip()
    category = PurePosixPath(image.replace("\\", "/")).parent.name or named
    if image and not category:
        faults.append(f"{label}: no category, neither in `category` nor as the folder of '{image}'")
    questions = {**_pairs(value, label=label, faults=faults), "kept": _kept(value, label=label, faults=faults)}
    if len(faults) > before:
        return None
    num_given = len(value["unsafe_pairs"]) + sum(key in value for key in KEPT)
    num_empty = num_given - len(questions["unsafe"]) - len(questions["kept"])
    drawn = {name: Scene.from_dict(value[name]) for name in ("sign", "benign") if name in value}
    return Record(split, position, category, named, image, benign, questions, num_empty, drawn)


def _pairs(value: Mapping[str, Any], *, label: str, faults: list[str]) -> dict[str, tuple[Question, ...]]:
    """The harmful questions as `unsafe` and `benign`, without pairs of which any text is empty."""
    pairs = value.get("unsafe_pairs")
    if not isinstance(pairs, list) or not pairs or not all(isinstance(pair, Mapping) for pair in pairs):
        faults.append(f"{label}: unsafe_pairs must be a list of at least one object")
        return {}
    found: dict[str, list[Question]] = {"unsafe": [], "benign": []}
    for number, pair in enumerate(pairs):
        at, names = f"{label} unsafe_pairs[{number}]", ("question", "model_response", "sd_response")
        texts = [_text(pair.get(name), at=f"{at}: {name}", to=faults, may_be_empty=True) for name in names]
        if all(texts):
            asked, harmful, normal = texts
            wordings = tuple(pair.get("wordings") or (asked,))
            found["unsafe"].append(Question(str(number), asked, harmful, wordings))
            found["benign"].append(Question(str(number), asked, normal, wordings))
    return {part: tuple(several) for part, several in found.items()}


def _kept(value: Mapping[str, Any], *, label: str, faults: list[str]) -> tuple[Question, ...]:
    """The harmless questions that are there, as officially, without those of which a text is empty."""
    found = []
    for key in (key for key in KEPT if key in value):
        pair = value[key]
        if not isinstance(pair, Mapping):
            faults.append(f"{label}: {key} is not an object")
            continue
        asked, said = (
            _text(pair.get(name), at=f"{label} {key}: {name}", to=faults, may_be_empty=True)
            for name in ("Question", "Prediction")
        )
        if asked and said:
            found.append(Question(key.removeprefix("UnharmPair_"), asked, said, (asked,)))
    return tuple(found)


def _text(value: Any, *, at: str, to: list[str], may_be_empty: bool = False) -> str:
    """A text without blanks around it; what is none is a fault."""
    if isinstance(value, str) and (value.strip() or may_be_empty):
        return value.strip()
    to.append(f"{at} is " + ("missing" if value is None else "empty" if isinstance(value, str) else "not a text"))
    return ""
