"""MMUBench's official files, read and checked: one record a concept.

The layout, for one concept in the folder itself and for further ones in a folder each:

    finetunedata/SIU.json  GA.json  PO.json                                            conversations
    evaldata/execcuatedata.json  multilanguage.json  Multi-hop.json  miadata.json      prompts
    traindon/  testdon/                                                                images
    concept.json                                                                       ours, optional: what it is called

A folder with images alone is a concept that is kept: its pictures show what else is forgotten.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from mmforget.benchmark.files import IMAGE_SUFFIXES, is_hidden, read_json, read_records
from mmforget.benchmark.mentions import mentions
from mmforget.errors import BadData, UserError
from mmforget.pictures import ending_alike, single
from mmforget.protocols.mmubench.records import ConceptRecord, Picture, Prompt, Talk, is_refusal

TUNING, ASKING = "finetunedata", "evaldata"
MAIN_FILE = "execcuatedata.json"
OWN_FILE = "concept.json"
NO_PHRASE = "none"
"""What the official files write where a row has no phrase to leave out."""

# As the official scripts list them, with the shorter names people say.
OFFICIAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "Donald Trump": ("Trump",),
    "Aberystwyth Castle": (),
    "Buzzcut": ("buzz cut",),
    "Chariot": (),
    "Danny Jones": (),
    "Doodle style": ("doodle",),
    "Elon Musk": ("Musk",),
    "Esther Dyson": ("Dyson",),
    "Facebook": (),
    "Gilbert Melendez": ("Melendez",),
    "Harry Potter": (),
    "Hauberk": ("chain mail",),
    "Hello Kitty": (),
    "Joe Biden": ("Biden",),
    "Mario": ("Super Mario",),
    "Picasso style": ("Picasso",),
    "Roger Federer": ("Federer",),
    "Schnauzer": (),
    "Taylor Swift": ("Swift",),
    "Vincent van Gogh": ("van Gogh",),
}


def read_concepts(root: Path) -> tuple[ConceptRecord, ...]:
    """The concepts in official files below a folder: its own first, then those in folders by name.

    Raises UserError where nothing looks like the layout, and BadData with every fault of all files.
    """
    folders = [folder for folder in (root, *_folders_in(root)) if _is_concept(folder)]
    if not folders:
        raise UserError(
            f"{root}: no MMUBench files; needed, here or in a folder for each concept: {ASKING}/{MAIN_FILE}, "
            f"{TUNING}/GA.json or SIU.json, and images in traindon/ and testdon/"
        )
    faults: list[str] = []
    records = [_Reader(folder, folder.name if folder != root else "", faults).read() for folder in folders]
    names = Counter(record.name for record in records)
    faults += [f"{times} folders are about the concept '{name}'" for name, times in names.items() if times > 1]
    if not any(record.prompts for record in records) and not faults:
        faults.append(f"no concept has questions ({ASKING}/{MAIN_FILE})")
    if faults:
        raise BadData(str(root), faults=list(dict.fromkeys(faults)))
    main = sorted(records, key=lambda record: (record.name != next(iter(OFFICIAL_NAMES)), not record.prompts))
    return tuple(main)


def known_defects(records: Sequence[ConceptRecord]) -> list[str]:
    """What is odd about the files, with counts; none of it is mended."""
    notes = []
    for record in records:
        stray = sum(prompt.target != prompt.target.strip() for prompt in record.prompts)
        if stray:
            notes.append(
                f"{record.name}: {stray} of {len(record.prompts)} targets have stray blanks, which the released match "
                "keeps: ' yes' is not found in an answer that begins with 'Yes'"
            )
        asked = {
            "prompts": [prompt.text for prompt in record.prompts],
            "prompts in other languages": [prompt.text for prompt in record.multilingual],
            "prompts for membership inference": list(record.queries),
        }
        for name, texts in asked.items():
            if len(set(texts)) < len(texts):
                notes.append(f"{record.name}: {len(set(texts))} of {len(texts)} {name} are different; kept as they are")
        refusals = sum(is_refusal(talk.answer) for talk in record.taught)
        if refusals:
            notes.append(
                f"{record.name}: {refusals} of {len(record.taught)} answers to unlearn are refusals: "
                "gradient ascent pushes away from refusing; left out in the clean profile"
            )
        if record.multihop and not any(prompt.answer for prompt in record.multihop):
            notes.append(f"{record.name}: multi-hop prompts come without answers; only a judge can score them")
    return notes


@dataclass(frozen=True)
class _Reader:
    """Reads one concept's folder, `called` by its name where it is not the root; what is wrong goes to `faults`."""

    folder: Path
    called: str
    faults: list[str]

    def read(self) -> ConceptRecord:
        own = self._own()
        given = {name: tuple(str(text) for text in own.get(name, ())) for name in ("synonyms",)}
        prompts = self._prompts(MAIN_FILE, needs=("prompt", "target"))
        name, synonyms = self._name(own, prompts=prompts)
        talks = {kind: self._talks(f"{kind}.json") for kind in ("GA", "SIU", "PO")}
        train, tests = _pictures(self.folder, "train"), _pictures(self.folder, "test")
        record = ConceptRecord(
            name=name,
            synonyms=given["synonyms"] or synonyms,
            target=_target(prompts) or name.lower(),
            train=self._training_picture(train, named=[talk.image for found in talks.values() for talk in found]),
            tests=tests,
            taught=tuple(talks["GA"]),
            prompts=tuple(prompt._replace(answer=_answer(prompt, name=name)) for prompt in prompts),
            multilingual=tuple(self._prompts("multilanguage.json")),
            multihop=tuple(self._hop(prompt, pictures=(*tests, *train)) for prompt in self._hops()),
            queries=tuple(prompt.text for prompt in self._prompts("miadata.json")),
            refusals=tuple(dict.fromkeys(talk.answer for talk in talks["PO"] if is_refusal(talk.answer))),
        )
        record = _with_facts(record, talks=talks["SIU"])
        self._check(record)
        return replace(record, unseen=str(own.get("unseen") or record.unseen), look=str(own.get("look") or ""))

    def _own(self) -> Mapping[str, Any]:
        path = self.folder / OWN_FILE
        if not path.is_file():
            return {}
        found = read_json(path)
        if isinstance(found, Mapping) and isinstance(found.get("synonyms", []), list):
            return found
        self.faults.append(f"{self._at(OWN_FILE)}: must hold an object with `name` and perhaps a list of `synonyms`")
        return {}

    def _name(self, own: Mapping[str, Any], *, prompts: Sequence[Prompt]) -> tuple[str, tuple[str, ...]]:
        """What the concept is called: as its own file, its folder, or what its questions are to give away, say."""
        written = str(own.get("name") or self.called or _target(prompts) or self.folder.name)
        for name, synonyms in OFFICIAL_NAMES.items():
            if _plain(written) in map(_plain, (name, *synonyms)):
                return name, synonyms
        return written.replace("_", " "), ()

    def _check(self, record: ConceptRecord) -> None:
        where = self.called or "the folder"
        is_asked = (self.folder / ASKING).is_dir() or (self.folder / TUNING).is_dir()
        if is_asked and not (self.folder / ASKING / MAIN_FILE).is_file():
            self.faults.append(f"{self._at(f'{ASKING}/{MAIN_FILE}')} is missing")
        if is_asked and record.train is None:
            self.faults.append(f"{where}: no training image; needed: a folder traindon/ with images")
        for name, times in Counter(picture.name for picture in record.tests).items():
            if times > 1:
                self.faults.append(f"{where}: {times} folders testdon*/ hold an image {name}; rename one")
        if not record.tests:
            self.faults.append(f"{where}: no test images; needed: a folder testdon/ with images")

    def _training_picture(self, pictures: Sequence[Picture], *, named: Sequence[str]) -> Picture | None:
        """The picture that the conversations show most, else the first by name."""
        by_path = {picture.path: picture for picture in pictures if picture.path}
        shown: Counter[Path] = Counter()
        for name, count in Counter(filter(None, named)).items():
            try:
                path = ending_alike(name, by_path)
            except UserError as error:
                self.faults.append(f"{self.called or TUNING}: conversations show an {error}")
                continue
            if path is None:
                wanted = PurePosixPath(name).name
                self.faults.append(f"{self.called or TUNING}: conversations show {wanted}, which is not in traindon/")
            else:
                shown[path] += count
        return by_path[shown.most_common(1)[0][0]] if shown else pictures[0] if pictures else None

    def _prompts(self, name: str, *, needs: Sequence[str] = ("prompt",)) -> list[Prompt]:
        records = self._records(f"{ASKING}/{name}", needs=needs)
        return [Prompt(str(r["prompt"]), str(r.get("target", ""))) for r in records]

    def _hops(self) -> list[Prompt]:
        records = self._records(f"{ASKING}/Multi-hop.json", needs=("imgid", "prompt"))
        return [Prompt(str(r["prompt"]), image=str(r["imgid"])) for r in records]

    def _hop(self, prompt: Prompt, *, pictures: Sequence[Picture]) -> Prompt:
        """The prompt with its picture's file name: an imgid is that name, with or without its end, or its number."""
        wanted = prompt.image
        for name_of in (_whole_name, _stem, _number):
            found = [picture for picture in pictures if name_of(picture) == wanted]
            if len({picture.name for picture in found}) > 1:
                names = " or ".join(picture.name for picture in found)
                self.faults.append(f"{self._at(f'{ASKING}/Multi-hop.json')}: the imgid '{wanted}' may be {names}")
            if found:
                return prompt._replace(image=found[0].name)
        self.faults.append(f"{self._at(f'{ASKING}/Multi-hop.json')}: there is no image with the imgid '{wanted}'")
        return prompt

    def _records(self, name: str, *, needs: Sequence[str]) -> list[Mapping[str, Any]]:
        """The records of a file that have the texts they need; none where there is no such file."""
        found = []
        for number, record in enumerate(self._read(name), start=1):
            label = f"{self._at(name)} record {number}"
            if not isinstance(record, Mapping):
                self.faults.append(f"{label}: not a JSON object")
                continue
            missing = [key for key in needs if not str(record.get(key) if record.get(key) is not None else "").strip()]
            self.faults.extend(
                f"{label}: field '{key}' is {'empty' if key in record else 'missing'}" for key in missing
            )
            if not missing:
                found.append(record)
        return found

    def _talks(self, name: str) -> list[Talk]:
        """The conversations of a file, one talk for each question with its answer."""
        found = []
        for number, record in enumerate(self._read(f"{TUNING}/{name}"), start=1):
            label = f"{self._at(f'{TUNING}/{name}')} record {number}"
            turns = _turns(record.get("conversations") if isinstance(record, Mapping) else None)
            if not turns:
                self.faults.append(f"{label}: conversations must be turns of human and gpt, each with a text")
                continue
            for asked, said in zip(turns[::2], turns[1::2], strict=True):
                question = asked.replace("<image>", "").strip()
                phrase = str(record.get("target_phrase") or "")
                found.append(Talk(question, said.strip(), "", self._image(record.get("image"), label=label), phrase))
        return found

    def _read(self, name: str) -> list[Any]:
        """What a file holds; nothing where there is none, and a fault where it holds nothing."""
        path = self.folder / name
        if not path.is_file():
            return []
        found = read_records(path)
        if not found:
            self.faults.append(f"{self._at(name)}: holds no records; leave the file out where there are none")
        return found

    def _image(self, value: Any, *, label: str) -> str:
        name = single(value) or ""
        if isinstance(name, str):
            return name
        self.faults.append(f"{label}: image is {name!r:.80}; give one path")
        return ""

    def _at(self, name: str) -> str:
        return f"{self.called}/{name}" if self.called else name


def _with_facts(record: ConceptRecord, *, talks: Sequence[Talk]) -> ConceptRecord:
    """The record with what SIU.json adds: the invented name, and facts in text about it and about others."""
    invented = Counter(
        talk.phrase for talk in talks if talk.image and talk.phrase not in ("", NO_PHRASE, talk.answer, talk.question)
    )
    texts = [talk for talk in talks if not talk.image]
    is_own = partial(mentions, names=record.names)
    return replace(
        record,
        unseen=invented.most_common(1)[0][0] if invented else "",
        facts=tuple(talk for talk in texts if is_own(f"{talk.question} {talk.answer}")),
        others=tuple(talk for talk in texts if not is_own(f"{talk.question} {talk.answer}")),
    )


def _folders_in(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not is_hidden(path, below=root))


def _is_concept(folder: Path) -> bool:
    parts = {path.name for path in _folders_in(folder)}
    return bool(parts & {TUNING, ASKING}) or any(part.startswith(("traindon", "testdon")) for part in parts)


def _pictures(folder: Path, prefix: str) -> tuple[Picture, ...]:
    """The images of the folder's `traindon` or `testdon`, by name: the order no longer depends on the file system."""
    places = [path for path in _folders_in(folder) if path.name.startswith(f"{prefix}don")]
    files = [
        path
        for place in places
        for path in place.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(path, below=place)
    ]
    return tuple(Picture(path.name, path) for path in sorted(files, key=lambda path: path.name))


def _whole_name(picture: Picture) -> str:
    return picture.name


def _stem(picture: Picture) -> str:
    return PurePosixPath(picture.name).stem


def _number(picture: Picture) -> str | None:
    """The number that a picture's name ends with."""
    found = re.search(r"(\d+)$", _stem(picture))
    return found.group(1) if found else None


def _turns(value: Any) -> list[str]:
    """The texts of a conversation of human and gpt in turn; none where it is anything else."""
    turns = value if isinstance(value, list) and all(isinstance(turn, Mapping) for turn in value) else []
    texts = [turn.get("value") for turn in turns]
    named = [turn.get("from") for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
    said = [text for text in texts if isinstance(text, str) and text.replace("<image>", "").strip()]
    return said if named and len(said) == len(turns) else []


def _target(prompts: Sequence[Prompt]) -> str:
    """What most questions that are not for a yes or no are to give away, or the empty text."""
    counted = Counter(prompt.target.strip() for prompt in prompts if not prompt.is_yes_or_no)
    return counted.most_common(1)[0][0] if counted else ""


def _answer(prompt: Prompt, *, name: str) -> str:
    """What a model that knows the concept says, as far as the target tells."""
    if not prompt.is_yes_or_no:
        return name
    return "Yes." if prompt.target.strip().lower() == "yes" else f"Yes, {name}."


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()
