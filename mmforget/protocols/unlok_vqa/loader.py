"""UnLOK-VQA (arXiv 2505.01456): official files, or the synthetic twin, as Rows.

    load(unlearning={"set": "forget"}, data="synthetic")["test"]

Every row's subject is the instance that it belongs to, also that of a neighbouring question or of one drawn at random:
each instance is deleted alone, and its rows are asked of the model from which just it was deleted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mmforget.benchmark import images
from mmforget.benchmark.loader import Loader, Request
from mmforget.protocols.unlok_vqa import twin
from mmforget.protocols.unlok_vqa.drawing import paint
from mmforget.protocols.unlok_vqa.official import NEIGHBOUR, ORIGINALS, REPHRASE, Corpus, read_files
from mmforget.protocols.unlok_vqa.records import Fact, Picture
from mmforget.protocols.unlok_vqa.words import EMPTY, LURES, PREFIXES

NUM_RANDOM = 10
Docs = Iterator[dict[str, Any]]


def read_twin(seed: int) -> Corpus:
    """Invented things, and what the micro model is taught of them."""
    facts = twin.facts(seed=seed)
    described = {"generator_seed": seed, "key": "position", "num_records": len(facts)}
    return Corpus(facts[: twin.NUM_FACTS], facts, twin.lessons(seed=seed), "position", described, ())


def _docs(request: Request, corpus: Corpus) -> Docs:
    return SETS[request.set](Writer(request, corpus, instances(request, corpus)))


def instances(request: Request, corpus: Corpus) -> tuple[Fact, ...]:
    """The facts to delete: the first `num_subjects` of them, and in `released` none that the official code skips."""
    found = corpus.facts
    if request.profile == "released":
        found = tuple(fact for fact in found if not official_skip(fact))
    return found[: request.num_subjects]


def official_skip(fact: Fact) -> str:
    """Why the official code leaves a fact out; empty where it does not."""
    if fact.repeats_noun:
        return "its subject stands twice in its question"
    if not fact.neighbours:
        return "it has no neighbouring question"
    return "nobody says what its neighbouring pictures show" if fact.shown is None else ""


class Writer(NamedTuple):
    """Turns facts into the docs of one request; a method a set."""

    request: Request
    corpus: Corpus
    facts: Sequence[Fact]

    def pretrain(self) -> Docs:
        """What the micro model is taught. Of official files these are the very questions that it is asked later."""
        for number, lesson in enumerate(self.corpus.lessons or self._taught_officially()):
            doc = _doc(lesson.key, "pretrain", number, lesson.question, lesson.answer, picture=lesson.picture)
            yield doc | {"id": f"pretrain/{number:05d}"}

    def forget(self) -> Docs:
        """The question to delete, of its picture, with all that attacks make of it."""
        for fact in self.facts:
            doc = _asked(fact, "forget", 0, fact.question, picture=fact.picture)
            pictures = [fact.rephrased[level] for level in fact.rephrased]
            extra = {**doc["extra"], "attack_levels": list(fact.rephrased)}
            yield doc | {
                "question_rephrased": fact.paraphrases,
                "attack_images": [_image(picture) for picture in pictures],
                "extra": {**extra, "jailbreak_subject": fact.noun, "jailbreak_object": fact.target}
                if fact.noun
                else extra,
            }

    def rephrase(self) -> Docs:
        """The same in other words: a paraphraser's."""
        for fact in self.facts:
            for number, question in enumerate(fact.paraphrases):
                yield _asked(fact, "rephrase", number, question, picture=fact.picture)

    def rephrase_easy(self) -> Docs:
        """Behind unrelated words."""
        for fact in self.facts:
            for number, words in enumerate(PREFIXES):
                yield _asked(fact, "rephrase_easy", number, words + fact.question, picture=fact.picture)

    def rephrase_hard(self) -> Docs:
        """Behind a text that is to lure the answer out."""
        for fact in self.facts:
            for number, lure in enumerate(LURES if fact.noun else ()):
                words = lure.format(noun=fact.noun, target=fact.target)
                yield _asked(fact, "rephrase_hard", number, words + fact.question, picture=fact.picture)

    def rephrase_image_easy(self) -> Docs:
        return self._of_pictures("easy")

    def rephrase_image_medium(self) -> Docs:
        return self._of_pictures("medium")

    def rephrase_image_hard(self) -> Docs:
        return self._of_pictures("hard")

    def neighbour(self) -> Docs:
        """Other questions about the same picture. The official score asks them for the answer that was deleted."""
        for fact in self.facts:
            for number, talk in enumerate(fact.neighbours):
                doc = _doc(fact.key, "neighbour", number, talk.question, talk.answer, picture=fact.picture)
                extra = {"number": number, "released_label": talk.answer.split()[0], "deleted": "perturbed/0"}
                yield doc | {"answer_perturbed": (fact.answer,), "extra": extra}

    def neighbour_image(self) -> Docs:
        """The question of pictures to which another answer is right."""
        for fact in self.facts:
            pairs = fact.neighbouring.items() if fact.neighbour_answer else ()
            for number, (level, picture) in enumerate(pairs):
                doc = _doc(fact.key, "neighbour_image", number, fact.question, fact.neighbour_answer, picture=picture)
                yield doc | {"extra": {"level": level}}

    def random(self) -> Docs:
        """Questions of other records, drawn for each instance by its key and the seed; never the instance itself."""
        for fact in self.facts:
            others = [other for other in self.corpus.pool if other.key != fact.key]
            rng = random.Random(f"unlok_vqa/random/{self.request.seed}/{fact.key}")
            for number, other in enumerate(rng.sample(others, min(NUM_RANDOM, len(others)))):
                doc = _doc(fact.key, "random", number, other.question, other.answer, picture=other.picture)
                yield doc | {"extra": {"record": other.key}}

    def _of_pictures(self, level: str) -> Docs:
        for fact in self.facts:
            if level in fact.rephrased:
                yield _asked(fact, f"rephrase_image_{level}", 0, fact.question, picture=fact.rephrased[level])

    def _taught_officially(self) -> Iterator[twin.Lesson]:
        for fact in self.corpus.pool:
            if fact.picture is not None:
                for question in (fact.question, *fact.paraphrases):
                    yield twin.Lesson(fact.key, fact.picture, question, fact.answer)
                for talk in fact.neighbours:
                    yield twin.Lesson(fact.key, fact.picture, *talk)
                for picture in fact.rephrased.values():
                    yield twin.Lesson(fact.key, picture, fact.question, fact.answer)


SETS: Mapping[str, Callable[[Writer], Docs]] = {
    name: getattr(Writer, name)
    for name in (
        "pretrain", "forget", "rephrase", "rephrase_easy", "rephrase_hard", "rephrase_image_easy",
        "rephrase_image_medium", "rephrase_image_hard", "neighbour", "neighbour_image", "random",
    )
}  # fmt: skip


def _asked(fact: Fact, name: str, number: int, question: str, *, picture: Picture | None) -> dict[str, Any]:
    """A row whose answer is the one to delete. Candidates are the answers that defences may have put in its place."""
    doc = _doc(fact.key, name, number, question, fact.answer, picture=picture)
    false = next((text for text in fact.alternatives if text.strip()), "")
    extra: dict[str, Any] = {"number": number, "empty": "perturbed/0", "alternatives": list(fact.alternatives)}
    if fact.neighbour_answer:
        extra["neighbour_answer"] = fact.neighbour_answer
    if false:
        extra["false"] = "perturbed/1"
    return doc | {"answer_perturbed": (EMPTY, false) if false else (EMPTY,), "extra": extra}


def _doc(key: str, name: str, number: int, question: str, answer: str, *, picture: Picture | None) -> dict[str, Any]:
    return {
        "id": f"{key}/{name}/{number}",
        "subject": key,
        "images": [_image(picture)] if picture is not None else [],
        "question": question,
        "answer": answer,
        "keywords": (answer,),
        "extra": {},
    }


def _image(picture: Picture) -> images.ImageValue:
    return images.from_file(picture.path) if picture.path else images.drawn(paint, picture.look)


LOADER = Loader(
    "unlok_vqa",
    sets=tuple(SETS),
    settings=("edits",),
    default="edits",
    official=read_files,
    twin=read_twin,
    docs=_docs,
    # Folders of pictures, too: their times tell of new ones.
    files=(
        "*.json",
        "d*/*.json",
        *(name for names in (ORIGINALS, *REPHRASE.values(), *NEIGHBOUR.values()) for name in names),
    ),
    hub=(
        "--data hub: the Hub's file (vaidehi99/UnLOK-VQA) has no pictures, which lie on Google Drive and in COCO, and "
        "its fields are not known for certain; get the files and give --data FOLDER, or use --data synthetic"
    ),
    unused=("portraits", "perturbed", "revision", "forget_path"),
)
load = LOADER.load


@LOADER.telling
def notes(request: Request, corpus: Corpus) -> list[str]:
    """What the records lack or have that is odd, with counts, what they are named by, and who is left out and why."""
    skipped = [(fact.key, why) for fact in corpus.facts if (why := official_skip(fact))]
    what = (
        "left out, as the official code does" if request.profile == "released" else "which the official code leaves out"
    )
    reasons = dict.fromkeys(why for _, why in skipped)
    told = [
        f"{len(keys)} instances, {what}: {why} ({', '.join(keys[:5])}{', ...' if len(keys) > 5 else ''})"
        for why in reasons
        if (keys := [key for key, said in skipped if said == why])
    ]
    return [*corpus.remarks, *told]


@LOADER.telling
def describe(request: Request, corpus: Corpus) -> dict[str, Any]:
    """Counts, hashes of the files, and what records are named by, for the run record."""
    return {
        **corpus.described,
        "num_instances": len(instances(request, corpus)),
        "num_random": min(NUM_RANDOM, max(0, len(corpus.pool) - 1)),
    }
