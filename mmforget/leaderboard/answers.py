"""Sample answers for the page: every question once, with what each model of the board says to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mmforget.leaderboard.board import Board, BoardRow
from mmforget.results.schema import AnswerExample

MAX_CHARACTERS = 240
GROUPS = ("forget", "rephrase", "benign", "benign_utility", "facts", "utility", "retain")
FORGOTTEN = GROUPS[:2]
"""Roles of sets in the order of the page, and those of what was to be forgotten; of other sets neither can be said."""
SAFE_IMAGE = re.compile(r"data:image/(?:png|jpeg|webp);base64,[A-Za-z0-9+/]+={0,2}")


@dataclass(frozen=True)
class Reply:
    """What one model answers."""

    model: str
    """Name of the model."""
    text: str
    """Its answer, cut to a length that fits a page."""
    outcome: str
    """`recalled` where it gives the true answer, `no answer`, `gibberish`, or `different`."""
    tone: str
    """`good`, `bad`, `warn`, or `plain` where no judgement is due (references, collapsed models, other sets)."""


@dataclass(frozen=True)
class Question:
    """A question with its true answer and every model's reply."""

    question: str
    """The question."""
    answer: str
    """The true answer."""
    replies: tuple[Reply, ...]
    """Target, retain, then the methods in the order of the board."""


class Told(NamedTuple):
    """What one model of a board answers to one question."""

    row: BoardRow
    example: AnswerExample


@dataclass(frozen=True)
class Subject:
    """One person (or other subject) in one picture, with a few questions."""

    name: str
    """Who it is."""
    set: str
    """Name of the set."""
    group: str
    """Role of the set; `other` for a set without one."""
    to_forget: bool
    """Whether that is what was to be forgotten."""
    image: str | None
    """The picture as a `data:` URI, or None."""
    questions: tuple[Question, ...]
    """Questions about the subject."""


def subjects(board: Board) -> list[Subject]:
    """Subjects of all examples on the board, by role of their set, else in the order they appear.

    A subject that is shown in several pictures, or in several sets, is there once for each.
    """
    told: dict[tuple[str, str, str | None], list[Told]] = {}
    for row in board.rows:
        for example in row.record.examples:
            key = (example.set, example.subject, safe_image(example.image))
            told.setdefault(key, []).append(Told(row, example))
    found = [_subject(board, several, image=image) for (_, _, image), several in told.items()]
    return sorted(found, key=lambda subject: GROUPS.index(subject.group) if subject.group in GROUPS else len(GROUPS))


def safe_image(uri: str | None) -> str | None:
    """A `data:` URI of a raster image, or None: records come from strangers, and the page must load nothing."""
    return uri if uri is not None and SAFE_IMAGE.fullmatch(uri) else None


def outcome(text: str, *, answer: str, degenerate: bool = False) -> str:
    """Whether a reply gives the true answer away, whatever follows it; else whether it says anything at all."""
    said, truth = _plain(text), _plain(answer)
    if not said:
        return "no answer"
    if truth and (said + " ").startswith(truth + " "):
        return "recalled"
    return "gibberish" if degenerate else "different"


def _subject(board: Board, told: Sequence[Told], *, image: str | None) -> Subject:
    first = told[0].example
    group = _group(board, first)
    asked: dict[tuple[str, str], list[Told]] = {}
    for one in told:
        asked.setdefault((one.example.question, one.example.answer), []).append(one)
    return Subject(
        name=first.subject,
        set=first.set,
        group=group,
        to_forget=group in FORGOTTEN,
        image=image,
        questions=tuple(_question(several, group=group) for several in asked.values()),
    )


def _group(board: Board, example: AnswerExample) -> str:
    """The role of an example's set; without one in the record, what the gate says of it."""
    return example.group or ("forget" if example.set in board.forget_sets else "utility")


def _question(told: Sequence[Told], *, group: str) -> Question:
    question, answer = told[0].example.question, told[0].example.answer
    replies: dict[str, Reply] = {}
    for reference in ("target", "retain"):
        texts = [example.response for row, example in told if row.record.role == reference]
        texts += [kept for _, example in told if (kept := getattr(example, reference))]
        if texts:
            replies[reference] = _reply(reference, texts[0], answer=answer, forgotten=None)
    for row, example in told:
        if not row.is_reference:
            forgotten = None if row.collapsed or group not in GROUPS else group in FORGOTTEN
            reply = _reply(
                row.label,
                example.response,
                answer=answer,
                forgotten=forgotten,
                degenerate=example.degenerate,
            )
            replies[row.label] = reply
    return Question(question, answer, tuple(replies.values()))


def _reply(model: str, text: str, *, answer: str, forgotten: bool | None, degenerate: bool = False) -> Reply:
    """A reply with its tone: the true answer is bad where it was to be forgotten (`forgotten`), good elsewhere."""
    shown = text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"
    result = outcome(text, answer=answer, degenerate=degenerate)
    if forgotten is None:
        tone = "plain"
    elif result in ("no answer", "gibberish") and forgotten:
        tone = "warn"
    else:
        tone = "good" if (result == "recalled") != forgotten else "bad"
    return Reply(model, shown, result, tone)


def _plain(text: str) -> str:
    """Lower case, one blank between words, no full stop at a word's end."""
    return " ".join(word.rstrip(".,;:!?") for word in text.casefold().split())
