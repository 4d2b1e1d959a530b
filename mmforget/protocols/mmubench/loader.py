"""MMUBench (arXiv 2405.12523): official files for any number of concepts, or the synthetic twin, as Rows.

    load(unlearning={"set": "generality", "setting": "one"}, data="synthetic")["test"]

A question and its picture are paired once and for all: pictures sorted by name, one a question, starting anew when all
have been shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

from mmforget.benchmark import images
from mmforget.benchmark.loader import Loader, Origin, Request
from mmforget.benchmark.mentions import about_another, spans_of
from mmforget.errors import UnknownName, UserError
from mmforget.protocols.mmubench import twin
from mmforget.protocols.mmubench.official import known_defects, read_concepts
from mmforget.protocols.mmubench.records import ConceptRecord, Picture, Prompt, Talk, is_refusal
from mmforget.protocols.mmubench.twin import Lesson
from mmforget.protocols.mmubench.words import LEAD, QUERY, REFUSALS
from mmforget.results.fingerprint import hash_file
from mmforget.synthetic.figures import draw

CONSTRUCTION = "What's the name of the central figure in this photograph?"
"""What the authors asked to find out which concepts LLaVA knows."""
Docs = Iterator[dict[str, Any]]


class Corpus(NamedTuple):
    """Everything the files say, before any choice of set."""

    records: tuple[ConceptRecord, ...]
    lessons: tuple[Lesson, ...]
    facts: Mapping[str, Any]


def read_files(origin: Origin) -> Corpus:
    """The concepts in a folder, and the hashes of its files."""
    folder = Path(origin.data)
    if not folder.is_dir():
        raise UserError(f"--data {folder}: not a folder; MMUBench's files lie in folders, name the one that holds them")
    files = [path for path in (Path(name) for name, *_ in origin.stamp) if path.is_file()]
    hashes = {str(path.relative_to(folder)): hash_file(path) for path in files}
    return Corpus(read_concepts(folder), (), {"sha256": hashes})


def read_twin(seed: int) -> Corpus:
    """Invented concepts, and what the micro model is taught of them."""
    return Corpus(twin.records(seed=seed), twin.lessons(seed=seed), {"generator_seed": seed})


class Divided(NamedTuple):
    """The concepts to forget and those to keep."""

    forgotten: tuple[ConceptRecord, ...]
    kept: tuple[ConceptRecord, ...]


def _divided(request: Request, corpus: Corpus) -> Divided:
    """`one`: the first concept that has questions; `all`: every such one but those marked as kept.

    A `forget_path` is the name of the concept to forget instead.
    """
    asked = [record for record in corpus.records if record.prompts]
    chosen = [record for record in asked if not record.is_kept] if request.setting == "all" else asked[:1]
    if request.forget_path:
        chosen = [record for record in asked if record.name == request.forget_path.strip("/")]
        if not chosen:
            known = [record.name for record in asked]
            raise UnknownName("concept in --forget_path", name=request.forget_path, known=known)
    return Divided(tuple(chosen), tuple(record for record in corpus.records if record not in chosen))


def _docs(request: Request, corpus: Corpus) -> Docs:
    return SETS[request.set](Writer(request, corpus, *_divided(request, corpus)))


class Writer(NamedTuple):
    """Turns records into the docs of one request; a method a set."""

    request: Request
    corpus: Corpus
    forgotten: tuple[ConceptRecord, ...]
    kept: tuple[ConceptRecord, ...]

    def pretrain(self) -> Docs:
        """What the micro model is taught. Of official files these are the very questions that it is asked later."""
        for number, lesson in enumerate(self.corpus.lessons or self._taught_officially()):
            yield _doc(f"pretrain/{number:04d}", lesson.subject, lesson.question, lesson.answer, picture=lesson.picture)

    def forget(self) -> Docs:
        """The training picture with questions and what the model says: what methods unlearn."""
        for record in self.forgotten:
            for number, talk in enumerate(self._lessons_of(record)):
                yield _about(record, f"forget/{number:03d}", talk.question, talk.answer, picture=record.train)

    def efficacy(self) -> Docs:
        """The main questions about the training picture."""
        for record in self.forgotten:
            yield from self._asked(record, pictures=[record.train] if record.train else [], name="efficacy")

    def generality(self) -> Docs:
        """The main questions about pictures that nothing was trained on."""
        for record in self.forgotten:
            yield from self._asked(record, pictures=record.tests, name="generality")

    def specificity(self) -> Docs:
        """Names of other concepts from their pictures; facts about them in text where they have no pictures."""
        shown = [record for record in self.kept if record.tests]
        for record in shown:
            questions = cycle(self._lessons_of(record))
            for number, (picture, talk) in enumerate(zip(record.tests, questions, strict=False)):
                yield _about(record, f"specificity/{number:03d}", talk.question, talk.answer, picture=picture)
        if not shown:
            yield from _texts(self._others(), name="specificity", subject="other concepts")

    def facts(self) -> Docs:
        """What is true of the concepts to forget, in text alone: it stays."""
        for record in self.forgotten:
            yield from _texts(record.facts, name="facts", subject=record.name)

    def retain(self) -> Docs:
        """Other concepts: their training picture and its questions, and facts about them in text."""
        for record in self.kept:
            for number, talk in enumerate(self._lessons_of(record) if record.train else ()):
                yield _about(record, f"retain/{number:03d}", talk.question, talk.answer, picture=record.train)
        for record in self.kept:
            yield from _texts(record.facts, name="retain/facts", subject=record.name)
        if not any(record.train or record.facts for record in self.kept):
            yield from _texts(self._others(), name="retain", subject="other concepts")

    def multilingual(self) -> Docs:
        """The main questions in other languages."""
        for record in self.forgotten:
            yield from _shown(record, record.multilingual, name="multilingual")

    def multihop(self) -> Docs:
        """Questions about facts that the picture alone leads to."""
        for record in self.forgotten:
            yield from _shown(record, record.multihop, name="multihop")

    def fluency(self) -> Docs:
        """What the model said before unlearning, asked of test pictures; where its names stand is marked."""
        for record in self.forgotten:
            pairs = zip(self._lessons_of(record), cycle(record.tests), strict=False)
            for number, (talk, picture) in enumerate(pairs):
                marks = _marks(talk.answer, names=record.names)
                yield _about(record, f"fluency/{number:03d}", talk.question, talk.answer, picture=picture) | marks

    def mia(self) -> Docs:
        """Questions as the text that is scored: was the model trained on them?"""
        for record in self.forgotten:
            for number, text in enumerate(record.queries):
                marks = _marks(text, names=record.names)
                yield _about(record, f"mia/{number:03d}", QUERY, text, picture=record.train) | marks

    def distance(self) -> Docs:
        """One question led up to the name, and cut after every word: how probable is the name there?"""
        for record in self.forgotten:
            question = next((talk.question for talk in record.taught if self.corpus.lessons), CONSTRUCTION)
            words = question.split()
            asked = [f"{question} {LEAD}", *(" ".join(words[: place + 1]) for place in range(len(words)))]
            for number, picture in enumerate(record.tests):
                for place, text in enumerate(asked):
                    doc = _about(record, f"distance/{number:03d}/{place:02d}", text, record.name, picture=picture)
                    extra = {**doc["extra"], "picture": number, "place": place, "is_last": place == 0}
                    yield doc | {"extra": extra, "answer_rephrased": record.synonyms}

    def _lessons_of(self, record: ConceptRecord) -> tuple[Talk, ...]:
        """What is said about the training picture, without refusals in the clean profile; its name where nothing is."""
        talks = record.taught
        if self.request.profile == "clean":
            talks = tuple(talk for talk in talks if not is_refusal(talk.answer))
        return talks or (Talk(CONSTRUCTION, record.name),)

    def _others(self) -> list[Talk]:
        """Facts about other concepts, each once, without any about a concept to forget."""
        own = {talk.question for record in self.forgotten for talk in record.facts}
        talks = [talk for record in self.forgotten for talk in record.others if talk.question not in own]
        return list({talk.question: talk for talk in talks}.values())

    def _asked(self, record: ConceptRecord, *, pictures: Sequence[Picture], name: str) -> Docs:
        """The main questions, then for each that wants a yes the same about another concept, to which yes is right."""
        others = [other for other in self.kept if other.tests]
        has_control = bool(others)
        for number, (prompt, picture) in enumerate(zip(record.prompts, cycle(pictures), strict=False)):
            doc = _asked_of(record, prompt, f"{name}/{number:03d}", picture=picture)
            extra = {**doc["extra"], "has_control": has_control} if prompt.is_yes_or_no else doc["extra"]
            yield doc | {"extra": extra}
        wanting = [prompt for prompt in record.prompts if prompt.is_yes_or_no]
        for number, prompt in enumerate(wanting if has_control else ()):
            other = others[number % len(others)]
            picture = other.tests[number // len(others) % len(other.tests)]
            text = about_another(prompt.text, name=record.name, other=other.name)
            doc = _doc(f"{_slug(record.name)}/{name}/control/{number:03d}", record.name, text, "Yes.", picture=picture)
            yield doc | {"extra": {"ask": "control", "about": other.name, "names": [other.name]}}

    def _taught_officially(self) -> Iterator[Lesson]:
        for record in self.corpus.records:
            prompts = record.prompts or (Prompt(CONSTRUCTION, answer=record.name),) * len(record.tests)
            for prompt, picture in zip(prompts, cycle(record.tests), strict=False):
                yield Lesson(record.name, picture, prompt.text, prompt.answer)
            for talk in record.taught if record.train else ():
                yield Lesson(record.name, record.train, talk.question, talk.answer)
            for talk in (*record.facts, *record.others):
                yield Lesson(record.name, None, talk.question, talk.answer)


MAIN = ("pretrain", "forget", "efficacy", "generality", "specificity", "facts", "retain")
FURTHER = ("multilingual", "multihop", "fluency", "mia", "distance")
SETS: Mapping[str, Callable[[Writer], Docs]] = {name: getattr(Writer, name) for name in (*MAIN, *FURTHER)}


def _shown(record: ConceptRecord, prompts: Sequence[Prompt], *, name: str) -> Docs:
    """Prompts about their own picture where they name one, else about the test pictures in turn."""
    # A test picture may be called as the training picture is, and prompts are about test pictures.
    by_name = {picture.name: picture for picture in (*((record.train,) if record.train else ()), *record.tests)}
    for number, (prompt, picture) in enumerate(zip(prompts, cycle(record.tests), strict=False)):
        yield _asked_of(record, prompt, f"{name}/{number:03d}", picture=by_name.get(prompt.image, picture))


def _asked_of(record: ConceptRecord, prompt: Prompt, name: str, *, picture: Picture | None) -> dict[str, Any]:
    doc = _about(record, name, prompt.text, prompt.answer or record.name, picture=picture)
    if prompt.is_yes_or_no:
        doc["extra"]["ask"] = "yes_no"
    keyword = prompt.keyword or prompt.target
    return doc | {"keywords": (keyword,) if keyword else ()}


def _about(record: ConceptRecord, name: str, question: str, answer: str, *, picture: Picture | None) -> dict[str, Any]:
    doc = _doc(f"{_slug(record.name)}/{name}", record.name, question, answer, picture=picture)
    return doc | {"keywords": (record.target,), "extra": {"ask": "open", "names": list(record.names)}}


def _texts(talks: Sequence[Talk], *, name: str, subject: str) -> Docs:
    for number, talk in enumerate(talks):
        doc = _doc(f"{_slug(subject)}/{name}/{number:03d}", subject, talk.question, talk.answer, picture=None)
        yield doc | {"keywords": (talk.keyword,) if talk.keyword else ()}


def _doc(name: str, subject: str, question: str, answer: str, *, picture: Picture | None) -> dict[str, Any]:
    return {
        "id": name,
        "subject": subject,
        "images": [_image(picture)] if picture else [],
        "question": question,
        "answer": answer,
        "path": (subject,),
        "extra": {},
    }


def _marks(text: str, *, names: Sequence[str]) -> dict[str, Any]:
    """Columns that say where names stand in a text that is scored."""
    starts, spans = spans_of(text, names=names)
    if not spans:
        return {}
    return {"answer_rephrased": starts, "extra": {"names": list(names), "spans": [list(span) for span in spans]}}


def _image(picture: Picture) -> images.ImageValue:
    return images.from_file(picture.path) if picture.path else images.drawn(draw, picture.look, view=picture.view)


def _slug(name: str) -> str:
    return re.sub(r"\W+", "_", name.lower()).strip("_")


LOADER = Loader(
    "mmubench",
    sets=tuple(SETS),
    settings=("one", "all"),
    default="one",
    official=read_files,
    twin=read_twin,
    docs=_docs,
    # Folders of pictures, too: their times tell of new ones.
    files=tuple(f"{'*/' * depth}{name}" for depth in range(4) for name in ("*.json", "testdon*", "traindon*")),
    max_files=1000,
    hub=(
        "--data hub: MMUBench is not on the Hugging Face Hub; get the authors' files and give --data FOLDER, or "
        "use --data synthetic"
    ),
    unused=("portraits", "perturbed", "num_subjects", "revision"),
)
load = LOADER.load


@LOADER.telling
def concepts(request: Request, corpus: Corpus) -> list[dict[str, Any]]:
    """What is known of each concept to forget, for methods that write their own rows."""
    return [
        {
            "name": record.name,
            "synonyms": list(record.synonyms),
            "facts": [[talk.question, talk.answer] for talk in record.facts],
            "neighbours": [[talk.question, talk.answer] for talk in record.others],
            "unseen": record.unseen,
            "look": record.look,
        }
        for record in _divided(request, corpus).forgotten
    ]


@LOADER.telling
def refusals(request: Request, corpus: Corpus) -> list[str]:
    """The refusals in the PO.json of the concepts to forget, or those that the twin's model was taught."""
    if request.data == "synthetic":
        return list(REFUSALS)
    found = [text for record in _divided(request, corpus).forgotten for text in record.refusals]
    return list(dict.fromkeys(found))


@LOADER.telling
def notes(request: Request, corpus: Corpus) -> list[str]:
    """Known defects with counts, and what the data leave out."""
    forgotten, kept = _divided(request, corpus)
    found = known_defects([record for record in corpus.records if record.prompts])
    if not any(record.tests for record in kept):
        found.append(
            "no other concept has pictures: specificity is asked in text alone, and yes/no questions have no control "
            "question, so the clean exact match leaves them out"
        )
    if not all(record.facts for record in forgotten):
        found.append("no facts in text (finetunedata/SIU.json) for some concept to forget: facts are not asked of it")
    return found


@LOADER.telling
def describe(request: Request, corpus: Corpus) -> dict[str, Any]:
    """Names of what is forgotten and kept, and file hashes, for the run record."""
    forgotten, kept = _divided(request, corpus)
    names = {"forget": [record.name for record in forgotten], "keep": [record.name for record in kept]}
    return {**corpus.facts, "concepts": names}
