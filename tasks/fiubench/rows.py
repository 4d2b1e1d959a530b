"""FIUBench (arXiv 2411.03554): official files, their text-only variant, or the synthetic twin, as Rows.

    load(unlearning={"set": "forget", "setting": "forget5"}, data="synthetic")["test"]

`load` is every task's `custom_dataset`; `--metadata` settings arrive as further keywords. What the official code does
without saying so is done here on purpose: the first 400 lines are the benchmark and the rest nobody trains on, retain
leaves out all three forget lists whichever is asked for, and texts are capitalised with the rest in lower case.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mmforget.benchmark import images
from mmforget.benchmark.files import find_image, first_file, read_id_lists, read_records, read_refusals, stamp
from mmforget.benchmark.hierarchy import divide
from mmforget.benchmark.hub import fetch, unpack
from mmforget.benchmark.people import (
    Person,
    Question,
    about,
    borrow_answers,
    group_rows,
    known_defects,
    missing_fields,
    person_from,
    repeated_ids,
    split_faults,
)
from mmforget.benchmark.rows import EmptySet, as_released, candidates, check_rows, make_dataset
from mmforget.benchmark.source import LoadOptions, asked_for, options_from
from mmforget.errors import BadData, UserError
from mmforget.results.fingerprint import hash_file
from mmforget.synthetic import people as synthetic
from mmforget.synthetic.portraits import HELD_OUT_VIEW, TRAIN_VIEWS, PortraitParams, draw

if TYPE_CHECKING:
    import datasets

__all__ = ["candidates", "describe", "load", "notes", "refusals"]

SETS = ("full", "full_retain", "forget", "retain", "retain5", "rephrase", "holdout")
SETTINGS = ("forget1", "forget5", "forget10")
SPLITS = (*SETTINGS, "retain5")
REPO = "gray311/FIUBench"
HUB_FILES = ("full.json", "split.json", "idontknow.json", "prompt.json", "SFHQ.zip")
NUM_PEOPLE = 400
# People right after the first N who serve as never seen ones where `num_subjects` is N; as many as the twin has.
NUM_SUBSET_HOLDOUT = 8


class Corpus(NamedTuple):
    """Everything the files say, before any choice of set."""

    trained: tuple[Person, ...]
    holdout: tuple[Person, ...]
    split: Mapping[str, tuple[str, ...]]
    refusals: tuple[str, ...]
    folders: tuple[Path, ...]
    facts: Mapping[str, Any]


class Request(NamedTuple):
    """Which rows are asked for: hashable, so that each is made once a process."""

    set: str
    setting: str
    modality: str
    data: str
    profile: str
    revision: str | None
    num_subjects: int | None
    forget_path: str | None
    portraits: str | None
    perturbed: str | None
    seed: int


def load(*, unlearning: Mapping[str, Any], **keywords: Any) -> dict[str, datasets.Dataset]:
    """The rows of a set as `{"test": Dataset}`.

    Args:
        unlearning: the label of the task that asks: `set`, `modality`, and `setting` where the task fixes one.
        keywords: `--metadata` settings (`source.OPTION_NAMES`) among whatever else lm_eval passes on.

    Raises UserError, and EmptySet where the data cannot fill the set.
    """
    request = _request(unlearning, options_from(keywords))
    return {"test": _dataset(request, _stamp(request.data))}


def refusals(*, unlearning: Mapping[str, Any], **keywords: Any) -> list[str]:
    """The `idk` refusals that come with the official files; none with the twin."""
    request = _request(unlearning, options_from(keywords))
    return list(_corpus(request).refusals)


def notes(*, unlearning: Mapping[str, Any], **keywords: Any) -> list[str]:
    """Known defects with counts, missing fields, and what was made up for them."""
    request = _request(unlearning, options_from(keywords))
    corpus = _corpus(request)
    people = _people(request._replace(set="full"), corpus)
    found = known_defects(people, parts={request.setting: _people(request._replace(set="forget"), corpus)})
    found += missing_fields(people)
    if request.perturbed:
        count = sum(question.borrowed for person in people for question in person.questions)
        found.append(f"{count:,} questions have perturbed answers borrowed from other people (a reconstruction)")
    if request.portraits and request.data != "synthetic":
        found.append("portraits are procedural stand-ins, not the official images")
    return found


def describe(*, unlearning: Mapping[str, Any], **keywords: Any) -> dict[str, Any]:
    """Counts of people, the resolved commit, file hashes and the protocol, for the run record."""
    request = _request(unlearning, options_from(keywords))
    corpus = _corpus(request)
    sizes = {name: len(_people(request._replace(set=name), corpus)) for name in ("full", "forget", "retain", "holdout")}
    forgotten = request.forget_path or request.setting
    protocol = f"forgets {forgotten} and keeps all others" if request.forget_path else "official"
    if request.num_subjects:
        protocol = (
            f"subset: the first {request.num_subjects} people; retain and retain5 are these without {forgotten}; "
            f"holdout are the {sizes['holdout']} people after them"
        )
    return {**corpus.facts, "num_people": sizes, "protocol": protocol}


def _request(unlearning: Mapping[str, Any], options: LoadOptions) -> Request:
    name, setting = asked_for(unlearning, options, benchmark="fiubench", sets=SETS, settings=SETTINGS)
    if setting is None and options.num_subjects:
        raise UserError(
            f"which people of the first {options.num_subjects} are retained depends on who is forgotten; "
            f'add "setting" to --metadata: one of {", ".join(SETTINGS)}'
        )
    return Request(
        set=name,
        setting=setting or "forget5",
        modality=str(unlearning.get("modality", "image")),
        data=str(options.source.path or options.source.kind),
        profile=options.profile,
        revision=options.revision,
        num_subjects=options.num_subjects,
        forget_path=options.forget_path,
        portraits=options.portraits,
        perturbed=options.perturbed,
        seed=options.seed,
    )


@lru_cache(maxsize=64)
def _dataset(request: Request, stamp: tuple[Any, ...]) -> datasets.Dataset:
    corpus = _corpus(request)
    docs = list(Writer(request, corpus).docs(_people(request, corpus)))
    if not docs:
        raise EmptySet(f"fiubench set '{request.set}' is empty with --data {request.data}: {_why_empty(request)}")
    check_rows(docs, source=f"fiubench {request.set} ({request.data})")
    return make_dataset(docs)


def _why_empty(request: Request) -> str:
    if request.set == "rephrase":
        return "no question has rephrased wordings (paraphrased_question); leave the rephrase tasks out"
    return f"there are no people after the first {NUM_PEOPLE}; leave the holdout tasks out"


def _people(request: Request, corpus: Corpus) -> list[Person]:
    """The people of a set, in file order, with borrowed answers where asked for."""
    forget = _forgotten(request, corpus)
    everyone, outside = list(corpus.trained), list(corpus.holdout)
    left_out = {name for setting in SETTINGS for name in corpus.split[setting]}
    retain5 = set(corpus.split["retain5"]) - forget
    if request.num_subjects:
        everyone, outside = _subset(request, corpus, forget=forget)
        retain5 = {person.id for person in everyone} - forget
    if request.num_subjects or request.forget_path:
        left_out = forget
    chosen = {
        "full": everyone,
        "full_retain": [person for person in everyone if person.id not in left_out],
        "retain": [person for person in everyone if person.id not in left_out],
        "retain5": [person for person in everyone if person.id in retain5],
        "forget": [person for person in everyone if person.id in forget],
        "rephrase": [person for person in everyone if person.id in forget],
        "holdout": outside,
    }[request.set]
    return borrow_answers(corpus.trained, wanted=chosen) if request.perturbed else chosen


def _forgotten(request: Request, corpus: Corpus) -> set[str]:
    """Who is to be forgotten: the person that the path names, else those of the setting."""
    if request.forget_path is None:
        return set(corpus.split[request.setting])
    return {
        doc["path"][0] for doc in divide([{"path": (one.id,)} for one in corpus.trained], request.forget_path).forget
    }


def _subset(request: Request, corpus: Corpus, *, forget: set[str]) -> tuple[list[Person], list[Person]]:
    num = request.num_subjects or len(corpus.trained)
    everyone = list(corpus.trained[:num])
    if num > len(corpus.trained):
        raise UserError(
            f"--metadata num_subjects is {num}, but there are {len(corpus.trained)} people; give at most that"
        )
    missing = forget - {person.id for person in everyone}
    if missing:
        last = max(i for i, person in enumerate(corpus.trained, start=1) if person.id in forget)
        raise UserError(
            f"--metadata num_subjects is {num}, but {request.forget_path or request.setting} reaches to person {last}; "
            f"give at least {last} or forget others"
        )
    if len(everyone) == len(forget):
        raise UserError(f"the first {num} people are all in {request.setting}; give a larger num_subjects")
    outside = [*corpus.trained[num:], *corpus.holdout][:NUM_SUBSET_HOLDOUT]
    return everyone, outside


class Writer(NamedTuple):
    """Turns people into the docs of one request."""

    request: Request
    corpus: Corpus

    @property
    def is_synthetic(self) -> bool:
        return self.request.data == "synthetic"

    def docs(self, people: Sequence[Person]) -> Iterator[dict[str, Any]]:
        """The rows of a set. Stage one goes wording by wording, a person's facts together, which share one image."""
        if self.request.set in ("full", "full_retain"):
            yield from self._stage_one(people)
            return
        for person in people:
            for fact, question in enumerate(person.questions):
                if self.request.set != "rephrase":
                    yield self._doc(person, fact, question.question, suffix="", view=0)
                    continue
                for number, text in enumerate(question.rephrased):
                    # Only the twin has several photographs; rephrased questions come with one that was held out.
                    view = HELD_OUT_VIEW if self.is_synthetic else 0
                    yield self._doc(person, fact, text, suffix=f"/r{number}", view=view)

    def _stage_one(self, people: Sequence[Person]) -> Iterator[dict[str, Any]]:
        most = max((len(q.wordings) for person in people for q in person.questions), default=0)
        for wording in range(max(1, most)):
            view = TRAIN_VIEWS[wording % len(TRAIN_VIEWS)] if self.is_synthetic else 0
            for person in people:
                for fact, question in enumerate(person.questions):
                    asked = question.wordings or (question.question,)
                    if wording < len(asked):
                        suffix = f"/w{wording}" if question.wordings else ""
                        yield self._doc(person, fact, asked[wording], suffix=suffix, view=view)

    def _doc(self, person: Person, fact: int, text: str, *, suffix: str, view: int) -> dict[str, Any]:
        question = person.questions[fact]
        # The official code capitalises questions and single answers, and forgets lists; only `clean` treats all alike.
        listed = str.capitalize if self.request.profile == "clean" else str
        perturbed = [listed(answer) for answer in question.perturbed]
        return {
            "id": f"{person.id}/{fact:02d}{suffix}",
            "subject": person.id,
            "images": [self._image(person, view=view)] if self.request.modality == "image" else [],
            "question": self._asked(text, person=person, question=question),
            "answer": question.answer.capitalize(),
            "question_rephrased": [self._asked(t, person=person, question=question) for t in question.rephrased],
            "answer_rephrased": [answer.capitalize() for answer in question.answer_rephrased],
            "answer_perturbed": perturbed,
            "keywords": question.keywords,
            "path": (person.id,),
            "extra": self._extra(person, question, fact=fact, view=view)
            | as_released("perturbed", perturbed, official=question.perturbed),
        }

    def _asked(self, text: str, *, person: Person, question: Question) -> str:
        if self.request.modality == "text":
            published = question.text_question if text == question.question else ""
            text = published or about(text, name=person.name)
        return text.capitalize()

    def _extra(self, person: Person, question: Question, *, fact: int, view: int) -> dict[str, Any]:
        extra: dict[str, Any] = {"name": person.name, "fact": fact}
        if self.is_synthetic:
            extra["view"] = view
        elif self.request.portraits and self.request.modality == "image":
            extra["portrait"] = self.request.portraits
        if question.borrowed:
            extra["perturbed"] = "borrowed"
        return extra

    def _image(self, person: Person, *, view: int) -> images.ImageValue:
        if self.is_synthetic:
            return _drawn(person.id, view, tuple((person.portrait or {}).items()))
        if self.request.portraits:
            return _drawn(person.id, view, ())
        if person.image is None or not self.corpus.facts["has_images"]:
            raise UserError(
                f"{self.request.data} holds no images, and image tasks were asked for; use group fiubench_text, or "
                '--metadata \'{"portraits": "procedural"}\' for drawn stand-ins (recorded as such)'
            )
        return images.from_file(find_image(person.image, folders=self.corpus.folders))


@lru_cache(maxsize=4096)
def _drawn(identity: str, view: int, portrait: tuple[tuple[str, Any], ...]) -> images.ImageValue:
    """A portrait from its parameters, or a stand-in that depends on nothing but the identity."""
    params = PortraitParams.from_dict(dict(portrait)) if portrait else PortraitParams.sample(random.Random(identity))
    return images.from_picture(draw(params, view=view))


def _corpus(request: Request) -> Corpus:
    return _read(request.data, request.revision, request.seed, _stamp(request.data))


@lru_cache(maxsize=8)
def _read(data: str, revision: str | None, seed: int, stamp: tuple[Any, ...]) -> Corpus:
    if data == "synthetic":
        return _read_synthetic(seed)
    if data == "hub":
        snapshot = fetch(REPO, revision=revision, patterns=HUB_FILES)
        archive = snapshot.folder / "SFHQ.zip"
        unpacked = (unpack(archive, commit=snapshot.commit),) if archive.is_file() else ()
        corpus = _read_official([snapshot.folder, *unpacked])
        return corpus._replace(facts={**corpus.facts, "repo": REPO, "commit": snapshot.commit})
    path = Path(data)
    folder = path.parent if path.is_file() else path
    return _read_official([folder, folder / "dataset", folder / "data"])


def _read_synthetic(seed: int) -> Corpus:
    records = synthetic.records(seed=seed)
    faults: list[str] = []
    people = [(record["holdout"], person_from(record, label="synthetic record", faults=faults)) for record in records]
    trained = tuple(person for is_outside, person in people if person and not is_outside)
    holdout = tuple(person for is_outside, person in people if person and is_outside)
    split = {name: tuple(ids) for name, ids in synthetic.splits(records).items()}
    if faults:
        raise BadData("synthetic people", faults=faults)
    return Corpus(trained, holdout, split, (), (), {"has_images": True, "generator_seed": seed})


def _read_official(folders: Sequence[Path]) -> Corpus:
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


def _stamp(data: str) -> tuple[Any, ...]:
    """Names, sizes and times of the files at a path, so that edited files are read again."""
    return stamp(data, "*.json", "*/*.json")
