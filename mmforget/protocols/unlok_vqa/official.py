"""UnLOK-VQA's official JSON and its folders of pictures, read and checked; what they lack is counted by name.

The official code numbers records by their place in the file, and so are pictures and the list of valid instances named.
In the full file that is each record's `id`; in the file of some 500 records that the Hub advertises it is not. So the
key of a record is its `id` where every record has one of its own, else its place; `layout.json` beside the file may say
otherwise, and where pictures lie:

    {"key": "position", "originals": ["train2017"], "rephrase": {"easy": ["noisy"]}, "neighbour": {"hard": ["far"]}}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mmforget.benchmark.files import first_file, folders_of, read_json, read_records
from mmforget.benchmark.loader import Origin
from mmforget.errors import BadData, UserError, shortened
from mmforget.protocols.unlok_vqa.records import LEVELS, Fact, Picture, Talk
from mmforget.results.fingerprint import hash_file

FILES = ("zsre_mend_eval.json", "unlok_vqa.json", "UnLOK-VQA.json", "train.json", "data.json")
VALID, POOL, LAYOUT = "valid_ids_manual_filt.json", "retain.json", "layout.json"
ORIGINALS = ("train2017", "val2017", "coco/train2017", "coco/val2017")
REPHRASE: Mapping[str, tuple[str, ...]] = {
    # The official code calls the detector's pictures hard and the generated ones medium; the paper's figure, whose
    # names count here, has it the other way round.
    "easy": ("parap_images_easy", "paraphrase_images_easy"),
    "medium": ("paraphrase_images_hard/okvqa_yolo_dino_bert/processed_images", "paraphrase_images_hard"),
    "hard": ("parap_images_medium", "paraphrase_images_medium"),
}
NEIGHBOUR: Mapping[str, tuple[str, ...]] = {
    # What the code calls easy and medium is the figure's easy and hard.
    "easy": ("neigh_images_easy", "neighborhood_images_easy"),
    "hard": ("neigh_images_medium", "neighborhood_images_medium"),
}
KEYS = ("position", "id")
OPTIONAL = ("rephrase", "alt_ans", "neigh_idx", "objects_edit", "loc", "loc_ans", "subject", "image_id")
"""Fields that a record may lack, as those of the Hub's file do."""
LOC_PREFIX = "nq question:"


class Corpus(NamedTuple):
    """Everything the files say.

    Attributes:
        facts: those to delete, in the order of the file.
        pool: all records that random questions are drawn from, those to delete among them.
        lessons: what a micro model is taught; none for official files.
        key: what records are named by, `position` or `id`.
    """

    facts: tuple[Fact, ...]
    pool: tuple[Fact, ...]
    lessons: tuple[Any, ...]
    key: str
    described: Mapping[str, Any]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """What records are named by (None: as the data suggest), and in which folders pictures of each kind may lie."""

    key: str | None = None
    originals: tuple[str, ...] = ORIGINALS
    rephrase: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: REPHRASE)
    neighbour: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: NEIGHBOUR)


def read_files(origin: Origin) -> Corpus:
    """The records at `--data`, with their pictures. Raises UserError where there are none, BadData with every fault."""
    folders = folders_of(origin.data)
    path = Path(origin.data) if Path(origin.data).is_file() else first_file(folders, FILES)
    if path is None:
        raise UserError(
            f"--data {origin.data}: holds none of {', '.join(FILES)}; name the folder that does, or the file"
        )
    layout = read_layout(first_file(folders, (LAYOUT,)))
    reader = Reader(folders, layout, Counter(), [])
    records = reader.records(path)
    key = layout.key or ("id" if _have_ids(records) else "position")
    facts = [reader.fact(record, key=_key(record, place, key=key)) for place, record in enumerate(records)]
    chosen = reader.valid(first_file(folders, (VALID,)), known=[fact.key for fact in facts])
    others = first_file(folders, (POOL,))
    pool = reader.pool(others, key=key, known={fact.key for fact in facts}) if others is not None else []
    if reader.faults:
        raise BadData(str(path), faults=reader.faults)
    shown = [fact for fact in facts if fact.picture is not None]
    reader.counts["records have no picture that was found, and are left out"] += len(facts) - len(shown)
    reader.count_missing(facts)
    files = [path, *(one for one in (first_file(folders, (VALID,)), others) if one is not None)]
    described = {"sha256": {one.name: hash_file(one) for one in files}, "key": key, "num_records": len(facts)}
    return Corpus(
        facts=tuple(fact for fact in shown if fact.key in chosen),
        pool=(*shown, *(fact for fact in pool if fact.picture is not None)),
        lessons=(),
        key=key,
        described=described,
        remarks=(f"records are named by their {key}", *reader.remarks(len(facts))),
    )


def read_layout(path: Path | None) -> Layout:
    """The layout in a file; that of the official code without one. Raises UserError for what it may not say."""
    if path is None:
        return Layout()
    given = read_json(path)
    if not isinstance(given, Mapping) or set(given) - {"key", "originals", "rephrase", "neighbour"}:
        raise UserError(f"{path}: give an object with any of key, originals, rephrase, neighbour")
    if given.get("key") not in (None, *KEYS):
        raise UserError(f"{path}: key is {shortened(given['key'])}; give one of {', '.join(KEYS)}")
    return Layout(
        key=given.get("key"),
        originals=_folders(given.get("originals", list(ORIGINALS)), where=f"{path}: originals"),
        rephrase=_places(given.get("rephrase", {}), known=REPHRASE, where=f"{path}: rephrase"),
        neighbour=_places(given.get("neighbour", {}), known=NEIGHBOUR, where=f"{path}: neighbour"),
    )


def _places(value: Any, *, known: Mapping[str, tuple[str, ...]], where: str) -> dict[str, tuple[str, ...]]:
    """Folders by level, where some are named those, else the known ones."""
    if not isinstance(value, Mapping) or set(value) - set(known):
        raise UserError(f"{where} is {shortened(value)}; give folders for any of {', '.join(known)}")
    return {**known, **{level: _folders(names, where=f"{where}.{level}") for level, names in value.items()}}


def _folders(value: Any, *, where: str) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise UserError(f"{where} is {shortened(value)}; give a folder's name or a list of them")
    return tuple(names)


class Reader(NamedTuple):
    """Reads records. `counts` says how often something is missing or odd, `faults` what is wrong."""

    folders: Sequence[Path]
    layout: Layout
    counts: Counter[str]
    faults: list[str]

    def records(self, path: Path) -> list[Mapping[str, Any]]:
        """The records that have a question and an answer, each a mapping."""
        found = []
        for number, record in enumerate(read_records(path), start=1):
            label = f"{path.name} record {number}"
            if not isinstance(record, Mapping):
                self.faults.append(f"{label}: is {shortened(record)}, no object")
                continue
            faults = list(_faults(record))
            self.faults.extend(f"{label}: {fault}" for fault in faults)
            if not faults:
                found.append(record)
        if not found and not self.faults:
            self.faults.append(f"{path.name}: holds no records")
        return found

    def fact(self, record: Mapping[str, Any], *, key: str) -> Fact:
        """A record as a fact; what it lacks is counted, what is written twice is there once."""
        question, answer = str(record["src"]).strip(), str(record["pred"]).strip()
        self.counts.update(f"records have no field '{name}'" for name in OPTIONAL if record.get(name) is None)
        paraphrases = [text for text in _texts(record.get("rephrase")) if text != question]
        alternatives = _texts(record.get("alt_ans"))
        shown = _index(record.get("neigh_idx"))
        fact = Fact(
            key=key,
            question=question,
            answer=answer,
            noun=str(record.get("subject") or "").strip(),
            target=next(iter(_texts(record.get("objects_edit"))), "") or str(record.get("subject") or "").strip(),
            paraphrases=tuple(dict.fromkeys(paraphrases)),
            alternatives=tuple(alternatives),
            shown=shown,
            neighbours=tuple(_neighbours(record)),
            picture=self._original(record),
            rephrased=dict(self._pictures(self.layout.rephrase, name=key)),
            neighbouring={} if shown is None else dict(self._pictures(self.layout.neighbour, name=f"{key}_{shown}")),
        )
        self._count_odd(fact)
        return fact

    def valid(self, path: Path | None, *, known: Sequence[str]) -> set[str]:
        """The keys of the instances: those that a list names, or all."""
        if path is None:
            self.counts[f"records are all instances, since there is no {VALID}"] += len(known)
            return set(known)
        listed = read_json(path)
        if not isinstance(listed, list) or not listed or not all(isinstance(one, int | str) for one in listed):
            self.faults.append(f"{path.name}: must be a list of ids")
            return set()
        wanted = {str(one) for one in listed}
        self.counts[f"ids in {path.name} name no record"] += len(wanted - set(known))
        return wanted & set(known)

    def pool(self, path: Path, *, key: str, known: set[str]) -> list[Fact]:
        """Further records to draw random questions from, each named by its `id`, or else apart from the others."""
        found = []
        for place, record in enumerate(self.records(path)):
            name = str(record["id"]) if record.get("id") is not None else f"retain-{place}"
            if name not in known:
                bare = {field: record.get(field) for field in ("src", "pred", "image_id")}
                found.append(
                    Fact(name, str(bare["src"]).strip(), str(bare["pred"]).strip(), picture=self._original(bare))
                )
        return found

    def count_missing(self, facts: Sequence[Fact]) -> None:
        """Counts pictures of every level that were not found."""
        for level in self.layout.rephrase:
            missing = sum(level not in fact.rephrased for fact in facts)
            self.counts[f"records have no {level} rephrased picture"] += missing
        for level in self.layout.neighbour:
            missing = sum(level not in fact.neighbouring for fact in facts)
            self.counts[f"records have no {level} neighbouring picture"] += missing

    def remarks(self, num_records: int) -> Iterator[str]:
        """What is missing or odd, with counts."""
        yield from (f"{count} of {num_records} {what}" for what, count in sorted(self.counts.items()) if count)

    def _count_odd(self, fact: Fact) -> None:
        odd = {
            "records have no paraphrase of their question": not fact.paraphrases,
            "records have no neighbouring question": not fact.neighbours,
            "records have their subject twice in the question": fact.repeats_noun,
            "records have their answer for what the luring prompts name": _same(fact.target, fact.answer),
            "records offer what the neighbouring picture shows as first false answer": fact.shown == 0,
            "records have an alternative that is the answer itself": any(
                _same(text, fact.answer) for text in fact.alternatives
            ),
        }
        self.counts.update(what for what, holds in odd.items() if holds)

    def _original(self, record: Mapping[str, Any]) -> Picture | None:
        number = _index(record.get("image_id"))
        names = [] if number is None else [f"{number:012d}.jpg"]
        return self._first(self.layout.originals, names=names)

    def _pictures(self, places: Mapping[str, Sequence[str]], *, name: str) -> Iterator[tuple[str, Picture]]:
        for level in LEVELS:
            found = self._first(places.get(level, ()), names=[f"{name}.jpg", f"{name}.png"])
            if found is not None:
                yield level, found

    def _first(self, places: Sequence[str], *, names: Sequence[str]) -> Picture | None:
        paths = [folder / place / name for folder in self.folders for place in places for name in names]
        return next((Picture(path) for path in paths if path.is_file()), None)


def _faults(record: Mapping[str, Any]) -> Iterator[str]:
    for name in ("src", "pred"):
        if not str(record.get(name) if record.get(name) is not None else "").strip():
            yield f"field '{name}' is {'empty' if name in record else 'missing'}"
    for name in ("rephrase", "alt_ans", "objects_edit", "loc", "loc_ans"):
        value = record.get(name)
        is_texts = isinstance(value, list) and all(isinstance(text, str) for text in value)
        if value is not None and not isinstance(value, str) and not is_texts:
            yield f"{name} is {shortened(value)}; give a list of texts"
            return
    asked, said = _texts(record.get("loc")), _texts(record.get("loc_ans"))
    if len(asked) != len(said):
        yield f"loc has {len(asked)} questions and loc_ans {len(said)} answers"
    shown, alternatives = record.get("neigh_idx"), _texts(record.get("alt_ans"))
    place = _index(shown)
    if shown not in (None, []) and (place is None or not 0 <= place < len(alternatives)):
        yield f"neigh_idx is {shortened(shown)}, and alt_ans has {len(alternatives)}"


def _texts(value: Any) -> list[str]:
    """A list of texts, or a single one as a list of one; blank ones stay, since others are counted by place."""
    if value is None:
        return []
    return [str(text).strip() for text in ([value] if isinstance(value, str) else value)]


def _index(value: Any) -> int | None:
    """A whole number, or the only one in a list."""
    one = value[0] if isinstance(value, list) and len(value) == 1 else value
    if isinstance(one, str) and one.isdecimal():
        return int(one)
    return one if isinstance(one, int) and not isinstance(one, bool) else None


def _neighbours(record: Mapping[str, Any]) -> Iterator[Talk]:
    for asked, said in zip(_texts(record.get("loc")), _texts(record.get("loc_ans")), strict=True):
        question = asked.removeprefix(LOC_PREFIX).strip()
        if question and said:
            yield Talk(question, said)


def _have_ids(records: Sequence[Mapping[str, Any]]) -> bool:
    ids = [record.get("id") for record in records]
    return None not in ids and len(set(map(str, ids))) == len(ids)


def _key(record: Mapping[str, Any], place: int, *, key: str) -> str:
    return str(place) if key == "position" else str(record.get("id"))


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()
