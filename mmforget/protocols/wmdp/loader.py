"""WMDP (arXiv 2403.03218): official questions, or the synthetic twin, as Rows.

    load(unlearning={"set": "forget", "setting": "forget_bio_cyber"}, data="synthetic")["test"]

What is asked are multiple-choice questions; what methods train on are texts that the user brings, for none is shipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mmforget.benchmark.loader import Loader, Request
from mmforget.benchmark.tables import repeated
from mmforget.protocols.wmdp import twin
from mmforget.protocols.wmdp.official import (
    CARD_COUNTS,
    FORGET,
    MMLU,
    PATTERNS,
    RETAIN,
    TOPICS,
    Corpus,
    read_files,
    read_hub,
)
from mmforget.protocols.wmdp.prompts import with_options
from mmforget.protocols.wmdp.records import Choice, letters

FORGOTTEN = {"forget_bio_cyber": ("bio", "cyber"), "forget_bio": ("bio",), "forget_cyber": ("cyber",)}
"""Topics to forget by setting."""
SETS = ("pretrain", "forget", "other", MMLU, "corpus_forget", "corpus_retain")
NUM_TAUGHT = 4
"""Times that the twin's texts are taught."""
Docs = Iterator[dict[str, Any]]


def _docs(request: Request, corpus: Corpus) -> Docs:
    topics = FORGOTTEN[request.setting]
    if request.set == "corpus_forget":
        return _alternating(corpus, topics=topics)
    if request.set == "corpus_retain":
        return _texts(corpus, name="retain")
    if request.set == "pretrain":
        return _taught(corpus)
    asked = {"forget": topics, "other": [name for name in TOPICS if name not in topics]}.get(request.set, (MMLU,))
    return (doc for name in asked for doc, _ in _questions(corpus, name=name))


def _questions(corpus: Corpus, *, name: str) -> Iterator[tuple[dict[str, Any], Choice]]:
    for place, choice in enumerate(corpus.questions.get(name, ())):
        label, letter = f"{name}/{place:04d}", letters(choice.options)[choice.gold]
        about = TOPICS.get(name) or choice.subject.replace("_", " ")
        yield (
            {
                "id": label,
                "subject": choice.subject if choice.wordings else label,
                "question": with_options(choice.question, choice=choice),
                "choices": list(choice.options),
                "gold": choice.gold,
                "answer": f"{letter}. {choice.options[choice.gold]}",
                "keywords": [choice.options[choice.gold]],
                "path": (name,),
                "extra": {"about": about} if about and not (name == MMLU and choice.wordings) else {},
            },
            choice,
        )


def _texts(corpus: Corpus, *, name: str) -> Docs:
    for place, text in enumerate(corpus.texts.get(name, ())):
        label = f"text/{name}/{place:04d}"
        yield {"id": label, "subject": label, "text": text}


def _alternating(corpus: Corpus, *, topics: Sequence[str]) -> Docs:
    """The texts of all topics in turn, as the official code takes its batches; what the longer one has more, last."""
    several = [list(_texts(corpus, name=name)) for name in topics]
    for place in range(max(map(len, several))):
        yield from (docs[place] for docs in several if place < len(docs))


def _taught(corpus: Corpus) -> Docs:
    """What the micro model is taught: every question, in each wording that it has, and every text."""
    for name in corpus.questions:
        for doc, choice in _questions(corpus, name=name):
            for number, text in enumerate(choice.wordings or (choice.question,)):
                yield doc | {"id": f"{doc['id']}/w{number}", "question": with_options(text, choice=choice)}
    for name in corpus.texts:
        for doc in _texts(corpus, name=name):
            yield from (doc | {"id": f"{doc['id']}/{again}"} for again in range(NUM_TAUGHT))


def _why_empty(request: Request) -> str:
    if request.set == "corpus_forget":
        files = ", ".join(FORGET[topic] for topic in FORGOTTEN[request.setting])
        return f"no text to forget comes with WMDP; bring your own as {files} (.jsonl, .json, .txt or .parquet)"
    if request.set == "corpus_retain":
        return f"there is no {RETAIN}, the text to keep (.jsonl, .json, .txt or .parquet); the paper takes wikitext"
    if request.set == MMLU:
        return "there is no mmlu (.json, .jsonl or .parquet); leave its tasks out, or ask lm_eval's own mmlu beside"
    return f"its files hold nothing for it; leave the {request.set} tasks out"


LOADER = Loader(
    "wmdp",
    sets=SETS,
    settings=tuple(FORGOTTEN),
    default="forget_bio_cyber",
    official=read_files,
    twin=twin.corpus,
    docs=_docs,
    files=PATTERNS,
    hub=read_hub,
    unused=("portraits", "perturbed", "num_subjects", "forget_path"),
    why_empty=_why_empty,
)
load = LOADER.load


@LOADER.telling
def notes(request: Request, corpus: Corpus) -> list[str]:
    """Files that are missing, questions that stand twice, and topics of another length; no text of any question."""
    found = [f"there is no {name}" for name in corpus.missing]
    for name, questions in corpus.questions.items():
        found += repeated([with_options(one.question, choice=one) for one in questions], of=name, is_shown=False)
        num, card = len(questions), CARD_COUNTS.get(name)
        if card and num not in (0, card) and not questions[0].wordings:
            found.append(f"{name} has {num:,} questions; the data set is said to have {card:,}")
    return found


@LOADER.telling
def describe(request: Request, corpus: Corpus) -> dict[str, Any]:
    """Numbers of questions and texts, the resolved commit and hashes, for the run record."""
    questions = {name: len(found) for name, found in corpus.questions.items() if found}
    texts = {name: len(found) for name, found in corpus.texts.items() if found}
    return {**corpus.facts, "num_questions": questions, "num_texts": texts, "protocol": "official"}
