"""SafeEraser (arXiv 2502.12520): the official files, or the harmless synthetic twin, as Rows.

    load(unlearning={"set": "forget"}, data="synthetic")["test"]

`load` is every task's `custom_dataset`; `--metadata` settings arrive as further keywords. Records have no ids, so rows
are named by their position in the file, as the official code pairs them. A record gives four rows to forget (harmful
question, harmful image), four to keep (harmless questions, the same image) and four benign ones (the harmful questions
again, a harmless image).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from mmforget.benchmark import images
from mmforget.benchmark.files import first_file, read_records, read_refusals, stamp
from mmforget.benchmark.hierarchy import divide
from mmforget.benchmark.rows import EmptySet, check_rows, make_dataset
from mmforget.benchmark.source import LoadOptions, asked_for, options_from
from mmforget.errors import BadData, UserError
from mmforget.pictures import single
from mmforget.results.fingerprint import hash_file
from mmforget.synthetic import hazards as synthetic
from mmforget.synthetic.hazards_drawing import Scene, draw

if TYPE_CHECKING:
    import datasets

__all__ = ["describe", "load", "notes", "refusals"]

SPLITS = ("train", "val")
KEPT = ("UnharmPair_text1", "UnharmPair_text2", "UnharmPair_image1", "UnharmPair_image2")
PARTS: Mapping[str, tuple[str, str]] = {
    "forget": ("train", "unsafe"),
    "rephrase": ("val", "unsafe"),
    "retain": ("train", "kept"),
    "retain_val": ("val", "kept"),
    "benign": ("train", "benign"),
    "benign_val": ("val", "benign"),
}
"""By set: the file it comes from, and which part of its records."""
SETS = (*PARTS, "pretrain")
SETTING = "all"
NUM_EACH = 4


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


class Request(NamedTuple):
    """Which rows are asked for: hashable, so that each is made once a process."""

    set: str
    data: str
    num_subjects: int | None
    forget_path: str | None
    seed: int


def load(*, unlearning: Mapping[str, Any], **keywords: Any) -> dict[str, datasets.Dataset]:
    """The rows of a set as `{"test": Dataset}`.

    Args:
        unlearning: the label of the task that asks, of which `set` counts.
        keywords: `--metadata` settings (`source.OPTION_NAMES`) among whatever else lm_eval passes on.

    Raises UserError, and EmptySet where the data cannot fill the set.
    """
    request = _request(unlearning, options_from(keywords))
    return {"test": _dataset(request, _stamp(request.data))}


def refusals(*, unlearning: Mapping[str, Any], **keywords: Any) -> list[str]:
    """The refusals of the official `prompt.json`; none with the twin."""
    return list(_corpus(_request(unlearning, options_from(keywords))).refusals)


def notes(*, unlearning: Mapping[str, Any], **keywords: Any) -> list[str]:
    """Known defects with counts."""
    found = []
    for split, records in _corpus(_request(unlearning, options_from(keywords))).records.items():
        empty = Counter(record.category for record in records if not record.named)
        other = sum(bool(record.named) and record.named != record.category for record in records)
        uneven = sum({len(several) for several in record.questions.values()} != {NUM_EACH} for record in records)
        num_empty = sum(record.num_empty for record in records)
        shared = len(records) - len({record.image for record in records})
        if empty:
            listed = ", ".join(f"{count} in {name}" for name, count in sorted(empty.items()))
            found.append(f"{split}: `category` is empty ({listed}); the folder of the image says it")
        if other:
            found.append(f"{split}: {other} records name another category than their image's folder, which counts")
        if uneven:
            found.append(f"{split}: {uneven} records have other than {NUM_EACH} questions of each part")
        if num_empty:
            found.append(f"{split}: {num_empty} questions have an empty text and are left out")
        if shared:
            found.append(f"{split}: {shared} records show an image that another one shows, too")
    return found


def describe(*, unlearning: Mapping[str, Any], **keywords: Any) -> dict[str, Any]:
    """Counts of records by category, file hashes and the protocol, for the run record."""
    request = _request(unlearning, options_from(keywords))
    corpus = _corpus(request)
    counts = {
        split: dict(sorted(Counter(record.category for record in records).items()))
        for split, records in corpus.records.items()
    }
    protocol = "official"
    if request.num_subjects:
        protocol = f"subset: the first {request.num_subjects} records of each file"
    if request.forget_path:
        protocol = f"forgotten is {request.forget_path} alone; other harmful answers are kept"
    return {**corpus.facts, "num_records": counts, "protocol": protocol}


def _request(unlearning: Mapping[str, Any], options: LoadOptions) -> Request:
    asked = asked_for(unlearning, options, benchmark="safe_eraser", sets=SETS, settings=(SETTING,))
    for option in ("portraits", "perturbed"):
        if getattr(options, option) is not None:
            raise UserError(f"--metadata {option} means nothing for safe_eraser; leave it out")
    return Request(
        set=asked.set,
        data=str(options.source.path or options.source.kind),
        num_subjects=options.num_subjects,
        forget_path=options.forget_path,
        seed=options.seed,
    )


@lru_cache(maxsize=64)
def _dataset(request: Request, stamp: tuple[Any, ...]) -> datasets.Dataset:
    corpus = _corpus(request)
    docs = _docs(request, corpus)
    if not docs:
        raise EmptySet(f"safe_eraser set '{request.set}' is empty with --data {request.data}; leave its tasks out")
    check_rows(docs, source=f"safe_eraser {request.set} ({request.data})")
    return make_dataset(docs)


def _docs(request: Request, corpus: Corpus) -> list[dict[str, Any]]:
    """The rows of a set. With a path, that category is forgotten and the other harmful answers are kept."""
    if request.set == "pretrain":
        return [doc for split in SPLITS for record in corpus.records[split] for doc in _everything(record, corpus)]
    docs = _part(request.set, corpus)
    if request.forget_path is None or request.set == "retain_val":
        return docs
    divided = divide(_part("forget", corpus), request.forget_path)
    if request.set == "retain":
        return [*docs, *divided.retain]
    return [doc for doc in docs if doc["path"] == divided.forget[0]["path"]]


def _part(name: str, corpus: Corpus) -> list[dict[str, Any]]:
    split, part = PARTS[name]
    return [
        _doc(record, part, question, text=question.question, suffix="", corpus=corpus)
        for record in corpus.records[split]
        for question in record.questions[part]
    ]


def _everything(record: Record, corpus: Corpus) -> Iterator[dict[str, Any]]:
    """What the micro model learns: every part, wording by wording, the questions about one picture together."""
    most = max(len(question.wordings) for several in record.questions.values() for question in several)
    for number in range(most):
        for part in ("unsafe", "kept", "benign"):
            for question in record.questions[part]:
                if number < len(question.wordings):
                    text = question.wordings[number]
                    yield _doc(record, part, question, text=text, suffix=f"/w{number}", corpus=corpus)


def _doc(record: Record, part: str, question: Question, *, text: str, suffix: str, corpus: Corpus) -> dict[str, Any]:
    extra = {"category": record.category}
    if part != "kept":
        extra["pair"] = f"{record.id}/{question.key}"
    return {
        "id": f"{record.id}/{part}/{question.key}{suffix}",
        "subject": record.subject(part),
        "images": [_image(record, part, corpus)],
        "question": text,
        "answer": question.answer,
        "path": (record.category,),
        "extra": extra,
    }


def _image(record: Record, part: str, corpus: Corpus) -> images.ImageValue:
    place = "benign" if part == "benign" else "sign"
    if place in record.drawn:
        return _drawn(record.drawn[place])
    return images.from_file(_place(record.benign_image if part == "benign" else record.image, folders=corpus.folders))


@lru_cache(maxsize=4096)
def _drawn(scene: Scene) -> images.ImageValue:
    return images.from_picture(draw(scene))


def _place(reference: str, *, folders: Sequence[Path]) -> Path:
    """Where an image lies, or where it was expected. Names such as `12.jpg` occur in every category, so that at least
    the folder above has to be the one written.
    """
    parts = [part for part in PurePosixPath(reference.replace("\\", "/")).parts if part not in (".", "..", "/")]
    tails = [parts[start:] for start in range(max(1, len(parts) - 1))]
    places = [folder.joinpath(*tail) for tail in tails for folder in folders]
    return next((place for place in places if place.is_file()), places[0])


def _corpus(request: Request) -> Corpus:
    corpus = _read(request.data, request.seed, _stamp(request.data))
    if request.num_subjects is None:
        return corpus
    return corpus._replace(records={name: found[: request.num_subjects] for name, found in corpus.records.items()})


@lru_cache(maxsize=8)
def _read(data: str, seed: int, stamp: tuple[Any, ...]) -> Corpus:
    if data == "synthetic":
        return _parsed(synthetic.records(seed=seed), source="synthetic", facts={"generator_seed": seed})
    if data == "hub":
        raise UserError(
            "--data hub: SafeEraser is not on the hub; get safeeraser_dataset.zip as the authors' repository "
            "says, unpack it, and give --data FOLDER, or use --data synthetic"
        )
    path = Path(data)
    folder = path.parent if path.is_file() else path
    folders = [folder, folder / "dataset", folder / "data"]
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


def _stamp(data: str) -> tuple[Any, ...]:
    """Names, sizes and times of the files at a path, so that edited files are read again."""
    return stamp(data, "*.json", "*/*.json")
