"""Sample answers for the page: every question once, with what each model of the board says to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mmforget.leaderboard.board import Board
from mmforget.results.schema import AnswerExample

MAX_CHARACTERS = 240
SAFE_IMAGE = re.compile(r"data:image/(?:png|jpeg|webp);base64,[A-Za-z0-9+/]+={0,2}")


@dataclass(frozen=True)
class Reply:
    """What one model answers."""

    model: str
    """Name of the model."""
    text: str
    """Its answer, cut to a length that fits a page."""
    outcome: str
    """`recalled` where it gives the true answer, `no answer`, or `different`."""
    tone: str
    """`good`, `bad`, `warn`, or `plain` where no judgement is due (references, collapsed models)."""


@dataclass(frozen=True)
class Question:
    """A question with its true answer and every model's reply."""

    question: str
    """The question."""
    answer: str
    """The true answer."""
    replies: tuple[Reply, ...]
    """Target, retain, then the methods in the order of the board."""


@dataclass(frozen=True)
class Subject:
    """One person (or other subject) with a few questions."""

    name: str
    """Who it is."""
    set: str
    """Name of the set."""
    to_forget: bool
    """Whether that is what was to be forgotten."""
    image: str | None
    """Portrait as a `data:` URI, or None."""
    questions: tuple[Question, ...]
    """Questions about the subject."""


def subjects(board: Board) -> list[Subject]:
    """Subjects of all examples on the board, those to be forgotten first, else in the order they appear."""
    examples: dict[tuple[str, str], list[AnswerExample]] = {}
    for row in board.rows:
        for example in row.record.examples:
            examples.setdefault((example.set, example.subject), []).append(example)
    found = [_subject(board, examples[key]) for key in examples]
    return sorted(found, key=lambda subject: not subject.to_forget)


def safe_image(uri: str | None) -> str | None:
    """A `data:` URI of a raster image, or None: records come from strangers, and the page must load nothing."""
    return uri if uri is not None and SAFE_IMAGE.fullmatch(uri) else None


def outcome(text: str, *, answer: str) -> str:
    """Whether a reply gives the true answer away; what follows the answer does not matter."""
    said, truth = _plain(text), _plain(answer)
    if not said:
        return "no answer"
    return "recalled" if truth and (said + " ").startswith(truth + " ") else "different"


def _subject(board: Board, examples: Sequence[AnswerExample]) -> Subject:
    asked = list(dict.fromkeys((example.question, example.answer) for example in examples))
    images = (safe_image(example.image) for example in examples)
    return Subject(
        name=examples[0].subject,
        set=examples[0].set,
        to_forget=examples[0].set in {row.forget_set for row in board.rows},
        image=next((image for image in images if image), None),
        questions=tuple(_question(board, examples[0], question, answer) for question, answer in asked),
    )


def _question(board: Board, like: AnswerExample, question: str, answer: str) -> Question:
    key = (like.subject, like.set, question, answer)
    told = [
        (row, example)
        for row in board.rows
        for example in row.record.examples
        if (example.subject, example.set, example.question, example.answer) == key
    ]
    replies: dict[str, Reply] = {}
    for reference in ("target", "retain"):
        texts = [example.response for row, example in told if row.record.role == reference]
        texts += [kept for _, example in told if (kept := getattr(example, reference))]
        if texts:
            replies[reference] = _reply(reference, texts[0], answer=answer, judged=None)
    for row, example in told:
        if not row.is_reference:
            judged = None if row.collapsed else like.set == row.forget_set
            replies[row.label] = _reply(row.label, example.response, answer=answer, judged=judged)
    return Question(question, answer, tuple(replies.values()))


def _reply(model: str, text: str, *, answer: str, judged: bool | None) -> Reply:
    """A reply with its tone: the true answer is bad where it was to be forgotten (`judged`) and good elsewhere."""
    shown = text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"
    result = outcome(text, answer=answer)
    if judged is None:
        tone = "plain"
    elif result == "no answer" and judged:
        tone = "warn"
    else:
        tone = "good" if (result == "recalled") != judged else "bad"
    return Reply(model, shown, result, tone)


def _plain(text: str) -> str:
    """Lower case, one blank between words, no full stop at a word's end."""
    return " ".join(word.rstrip(".,;:!?") for word in text.casefold().split())
