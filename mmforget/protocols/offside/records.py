"""OFFSIDE's official records, of messages and of classification, read and checked.

What is wrong is collected, so that all of it is reported at once; known defects are counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from mmforget.benchmark.rows import PLACEHOLDER, ROLES
from mmforget.protocols.offside.drawing import Picture
from mmforget.protocols.offside.values import PRIVATE, attribute_of

INSTRUCTION = "Choose the right option and respond with only the letter."
IMAGES_A_PLAYER = 5
LITERAL = (
    "records hold further literal <image> tags, which are text and left out (the first one is the picture's place)"
)
INNER = "records have their one <image> tag inside of the question; the picture stands before it"
CARRIED = "records are text alone and carry a picture all the same, which is left out"
POINTING = "records are text alone and speak of an image"
STRAY = "questions have a stray full stop before 's (\"Mitoma.'s\"), kept as they are"
UNNUMBERED = "pictures have no number from which their player follows; each counts as a player of its own"
UNKNOWN = "questions ask for a fact that no rule knows by their words: neither shared nor private, without typed values"
_LEADING = re.compile(r"\s*<image>[ \t]*\n?")
_BLANKS = re.compile(r"[ \t]{2,}")
_NUMBER = re.compile(r"\d{3}")


class Question(NamedTuple):
    """One question, of a file of messages or of classification.

    Attributes:
        picture_number: the three digits in its picture's name.
        number: counts the questions about its picture in its file, from 1.
        images: references as written; none where it is asked in words alone.
        turns: all messages where they are more than a question and its answer.
        options: of a classification, by letter.
        attribute: the fact that it asks for; None where no rule knows it.
        picture, view: how the twin's picture is drawn, in place of a file.
    """

    image_id: str
    picture_number: int | None
    number: int
    question: str
    answer: str
    images: tuple[str, ...]
    turns: tuple[Mapping[str, str], ...] = ()
    options: Mapping[str, str] = {}
    attribute: str | None = None
    picture: Picture | None = None
    view: int = 0

    @property
    def scope(self) -> str | None:
        """`private` where it asks about this picture's transfer, `shared` where about the player; by its words."""
        return None if self.attribute is None else "private" if self.attribute in PRIVATE else "shared"

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes records of different files the same question."""
        return self.image_id, self.question, self.answer

    @property
    def split(self) -> str | None:
        """The set that its picture belongs to by its number: 1, 2, 3 of five are retain, 4 forget, 5 relearn."""
        if self.picture_number is None:
            return None
        return {4: "forget", 0: "relearn"}.get(self.picture_number % IMAGES_A_PLAYER, "retain")

    @property
    def player(self) -> str:
        """Whom its picture shows, by its number; the picture's name where that has none."""
        if self.picture_number is None:
            return self.image_id
        return f"{(self.picture_number - 1) // IMAGES_A_PLAYER + 1:03d}"


class Reader(NamedTuple):
    """Reads records. `faults` is what is wrong with them, `counts` how often which defect was met."""

    faults: list[str]
    counts: Counter[str]

    def messages(self, records: Sequence[Any], *, source: str) -> list[Question]:
        """The questions of a file of `messages` and `images`."""
        return list(self._numbered(self._message(one, label=_label(source, i)) for i, one in enumerate(records)))

    def choices(self, records: Sequence[Any], *, source: str) -> list[Question]:
        """The questions of a file of `Question`, `Options`, `Correct_Answer` and `images`."""
        return list(self._numbered(self._choice(one, label=_label(source, i)) for i, one in enumerate(records)))

    def _numbered(self, found: Iterator[Question | None]) -> Iterator[Question]:
        seen: Counter[tuple[str, bool]] = Counter()
        for question in found:
            if question is not None:
                place = (question.image_id, bool(question.images))
                seen[place] += 1
                yield question._replace(number=seen[place])

    def _message(self, record: Any, *, label: str) -> Question | None:
        turns = self._turns(record, label=label)
        if turns is None:
            return None
        references = self._references(record, label=label)
        places = sum(turn["content"].count(PLACEHOLDER) for turn in turns)
        said = " ".join(turn["content"] for turn in turns)
        if not places:
            self.counts[CARRIED] += bool(references)
            self.counts[POINTING] += bool(re.search(r"\b(?:image|picture|photo)\b", said, re.IGNORECASE))
            shown: tuple[str, ...] = ()
        else:
            if not references:
                self.faults.append(f"{label}: has <image> in its text and no picture (key images or image)")
                return None
            shown = tuple(references)
        placed = self._placed(turns, num_images=len(shown), label=label)
        if placed is None:
            return None
        return self._question(record, placed, references=references, shown=shown)

    def _question(
        self, record: Mapping[str, Any], turns: list[dict[str, str]], *, references: list[str], shown: tuple[str, ...]
    ) -> Question:
        asked = next(turn["content"] for turn in reversed(turns[:-1]) if turn["role"] == "user")
        question = asked.replace(PLACEHOLDER, "").strip()
        self.counts[STRAY] += ".'s" in question or ".’s" in question
        is_pair = [turn["role"] for turn in turns] == ["user", "assistant"]
        found = Question("", None, 0, question, turns[-1]["content"].strip(), shown, () if is_pair else tuple(turns))
        return self._about(found, references=references, record=record)

    def _about(self, found: Question, *, references: Sequence[str], record: Mapping[str, Any]) -> Question:
        """With what follows from its picture and its words."""
        stem = PurePosixPath(references[0].replace("\\", "/")).stem if references else "none"
        match = _NUMBER.search(stem)
        self.counts[UNNUMBERED] += match is None
        attribute = attribute_of(found.question)
        self.counts[UNKNOWN] += attribute is None
        drawn = record.get("picture")
        return found._replace(
            image_id=stem, picture_number=int(match[0]) if match else None, attribute=attribute,
            picture=Picture.from_dict(drawn) if drawn and found.images else None, view=int(record.get("view", 0)),
        )  # fmt: skip

    def _turns(self, record: Any, *, label: str) -> list[dict[str, str]] | None:
        messages = record.get("messages") if isinstance(record, Mapping) else None
        if not isinstance(messages, list) or not messages:
            self.faults.append(f"{label}: messages is missing or no list")
            return None
        turns = []
        for number, message in enumerate(messages):
            role, content = (message.get(key) if isinstance(message, Mapping) else None for key in ("role", "content"))
            if role not in ROLES or not isinstance(content, str) or not content.strip():
                self.faults.append(f"{label}: messages[{number}] needs a role ({', '.join(ROLES)}) and a content")
                return None
            turns.append({"role": role, "content": content})
        said = [turn["role"] for turn in turns]
        if said[-1] != "assistant" or "user" not in said or PLACEHOLDER in turns[-1]["content"]:
            self.faults.append(f"{label}: the last message has to be the assistant's answer, in text, behind a user's")
            return None
        return turns

    def _references(self, record: Mapping[str, Any], *, label: str) -> list[str]:
        """The pictures of a record, as a text or a list of texts, under either key."""
        value: Any = next((record[key] for key in ("images", "image") if record.get(key)), [])
        listed = value if isinstance(value, list) else [value]
        if not all(isinstance(one, str) and one.strip() for one in listed):
            self.faults.append(f"{label}: images is {str(value)[:60]!r}; it has to be a path or a list of paths")
            return []
        return [one.strip() for one in listed]

    def _placed(self, turns: list[dict[str, str]], *, num_images: int, label: str) -> list[dict[str, str]] | None:
        """The messages with one tag a picture: a second one inside of a question that opens with one is literal text.

        None, and a fault, where the tags do not say which of them are pictures' places.
        """
        found = sum(turn["content"].count(PLACEHOLDER) for turn in turns)
        if found == num_images:
            self.counts[INNER] += found == 1 and not any(_LEADING.match(turn["content"]) for turn in turns)
            return turns
        (first, *others) = [turn for turn in turns if PLACEHOLDER in turn["content"]]
        leading = _LEADING.match(first["content"])
        rest = first["content"][leading.end() :] if leading else ""
        if num_images != 1 or leading is None or rest.lstrip().startswith(PLACEHOLDER) or others:
            self.faults.append(
                f"{label}: {found} <image> tags for {num_images} picture{'s' * (num_images != 1)}, and they do not say "
                "which of them is text; write one for each picture"
            )
            return None
        self.counts[LITERAL] += 1
        text = leading.group() + _without_tags(rest)
        return [{**turn, "content": text} if turn is first else turn for turn in turns]

    def _choice(self, record: Any, *, label: str) -> Question | None:
        value: Mapping[str, Any] = record if isinstance(record, Mapping) else {}
        asked, options, right = (value.get(key) for key in ("Question", "Options", "Correct_Answer"))
        if not isinstance(asked, str) or not asked.strip():
            self.faults.append(f"{label}: Question is missing or empty")
            return None
        if not isinstance(options, Mapping) or len(options) < 2 or not all(map(_is_option, options.items())):
            self.faults.append(f"{label}: Options has to be an object of letters with a text each, two at least")
            return None
        letter = str(right or "").strip().rstrip(".").upper()
        if letter not in options:
            self.faults.append(f"{label}: Correct_Answer is {right!r:.40}, and the options are {', '.join(options)}")
            return None
        references = self._references(value, label=label)
        if len(references) != 1:
            self.faults.append(f"{label}: images names {len(references)} pictures; a classification shows one")
            return None
        found = Question("", None, 0, choice_text(asked, options=options), letter, tuple(references), options=options)
        made = self._about(found, references=references, record=value)
        return made._replace(attribute=attribute_of(_without_tags(asked)))

    def remarks(self) -> tuple[str, ...]:
        """The defects that were met, with counts."""
        return tuple(f"{count:,} {what}" for what, count in self.counts.items() if count)


def choice_text(question: str, *, options: Mapping[str, str]) -> str:
    """A classification question as officially asked: what to do behind a blank line, and an option a line."""
    lines = "\n".join(f"{letter}: {text}" for letter, text in options.items())
    return f"{_without_tags(question)}\n\n{INSTRUCTION}\n\n{lines}"


def _label(source: str, position: int) -> str:
    return f"{source} record {position + 1}"


def _without_tags(text: str) -> str:
    return _BLANKS.sub(" ", text.replace(PLACEHOLDER, "")).strip()


def _is_option(item: tuple[Any, Any]) -> bool:
    letter, text = item
    return re.fullmatch("[A-Z]", str(letter)) is not None and isinstance(text, str) and bool(text.strip())
