"""FIUBench (arXiv 2411.03554): official files, their text-only variant, or the synthetic twin, as Rows.

    load(unlearning={"set": "forget", "setting": "forget5"}, data="synthetic")["test"]

What the official code does without saying so is done here on purpose: the first 400 lines are the benchmark and the
rest nobody trains on, retain leaves out all three forget lists whichever is asked for, and texts are capitalised with
the rest in lower case.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from mmforget.benchmark import images
from mmforget.benchmark.files import find_image
from mmforget.benchmark.hierarchy import divide
from mmforget.benchmark.loader import Loader, Request
from mmforget.benchmark.rows import as_released
from mmforget.benchmark.source import Asked, LoadOptions
from mmforget.errors import UserError
from mmforget.protocols.fiubench.official import NUM_PEOPLE, SETTINGS, Corpus, read_files, read_hub, read_twin
from mmforget.protocols.fiubench.people import (
    Person,
    Question,
    about,
    borrow_answers,
    known_defects,
    missing_fields,
)
from mmforget.synthetic.portrait_params import PortraitParams
from mmforget.synthetic.portraits import draw
from mmforget.synthetic.views import HELD_OUT_VIEW, TRAIN_VIEWS

SETS = ("full", "full_retain", "forget", "retain", "retain5", "rephrase", "holdout")
# People right after the first N who serve as never seen ones where `num_subjects` is N; as many as the twin has.
NUM_SUBSET_HOLDOUT = 8


def _docs(request: Request, corpus: Corpus) -> Iterator[dict[str, Any]]:
    return Writer(request, corpus).docs(_people(request, corpus))


def _check(asked: Asked, options: LoadOptions) -> None:
    if asked.setting is None and options.num_subjects:
        raise UserError(
            f"which people of the first {options.num_subjects} are retained depends on who is forgotten; "
            f'add "setting" to --metadata: one of {", ".join(SETTINGS)}'
        )


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
        if self.is_synthetic or self.request.portraits:
            # A stand-in depends on nothing but the identity.
            known = person.portrait if self.is_synthetic else None
            params = PortraitParams.from_dict(known) if known else PortraitParams.sample(random.Random(person.id))
            return images.drawn(draw, params, view=view)
        if person.image is None or not self.corpus.facts["has_images"]:
            raise UserError(
                f"{self.request.data} holds no images, and image tasks were asked for; use group fiubench_text, or "
                '--metadata \'{"portraits": "procedural"}\' for drawn stand-ins (recorded as such)'
            )
        return images.from_file(find_image(person.image, folders=self.corpus.folders))


LOADER = Loader(
    "fiubench",
    sets=SETS,
    settings=SETTINGS,
    default="forget5",
    official=read_files,
    twin=read_twin,
    docs=_docs,
    files=("*.json", "*/*.json"),
    hub=read_hub,
    has_text_twin=True,
    check=_check,
    why_empty=_why_empty,
)
load = LOADER.load


@LOADER.telling
def refusals(request: Request, corpus: Corpus) -> list[str]:
    """The `idk` refusals that come with the official files; none with the twin."""
    return list(corpus.refusals)


@LOADER.telling
def notes(request: Request, corpus: Corpus) -> list[str]:
    """Known defects with counts, missing fields, and what was made up for them."""
    people = _people(request._replace(set="full"), corpus)
    found = known_defects(people, parts={request.setting: _people(request._replace(set="forget"), corpus)})
    found += missing_fields(people)
    if request.perturbed:
        count = sum(question.borrowed for person in people for question in person.questions)
        found.append(f"{count:,} questions have perturbed answers borrowed from other people (a reconstruction)")
    if request.portraits and request.data != "synthetic":
        found.append("portraits are procedural stand-ins, not the official images")
    return found


@LOADER.telling
def describe(request: Request, corpus: Corpus) -> dict[str, Any]:
    """Counts of people, the resolved commit, file hashes and the protocol, for the run record."""
    sizes = {name: len(_people(request._replace(set=name), corpus)) for name in ("full", "forget", "retain", "holdout")}
    forgotten = request.forget_path or request.setting
    protocol = f"forgets {forgotten} and keeps all others" if request.forget_path else "official"
    if request.num_subjects:
        protocol = (
            f"subset: the first {request.num_subjects} people; retain and retain5 are these without {forgotten}; "
            f"holdout are the {sizes['holdout']} people after them"
        )
    return {**corpus.facts, "num_people": sizes, "protocol": protocol}
