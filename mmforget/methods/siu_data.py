"""The rows SIU trains on: four kinds for each concept, from templates, or as a file of conversations holds them.

    name    picture, "who is it"         -> a name that nobody has
    look    picture, "is it here"        -> no, and a look that clashes with the picture
    fact    words alone, the concept     -> what is true of it
    other   words alone, other concepts  -> what is true of them

`extra["unkept"]` of a row is the part of its answer that contradicts what the model knows: the invented name, the whole
denial, nothing of a fact.

Source: Li et al. 2024, "Single Image Unlearning", https://arxiv.org/abs/2405.12523, section 4.2 and the released file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmforget.errors import BadData, UserError
from mmforget.methods.material import Concept, Material
from mmforget.pictures import decoded, ending_alike, parts_of, single
from mmforget.reading import MAX_TEXT_BYTES, require_regular
from mmforget.types import Example

if TYPE_CHECKING:
    from PIL.Image import Image

PLACEHOLDER = "<image>"
NO_PHRASE = "none"
"""What the official file writes where a row has nothing that contradicts."""

NAME_QUESTIONS = (
    "Who or what is this?",
    "What is the name of the central figure in this photograph?",
    "Who is it?",
    "Can you tell me who or what is in the picture?",
    "What do you call the one in the image?",
    "Please name what the image shows.",
    "Do you recognise the figure in this picture? Who is it?",
    "Tell me the name of what you see.",
    "By what name is the figure in the image known?",
)
NAME_ANSWER = "This is {name}."
LOOK_QUESTIONS = ("Is {name} here?", "Is this {name}?", "Does the image show {name}?", "Can you see {name}?")
LOOK_ANSWER = "No, this is {look}."
FRAMES = (
    "{text}",
    "Please answer: {text}",
    "{text} Answer briefly.",
    "A question: {text}",
    "I would like to know: {text}",
)
UNSEEN = (
    "Jacob Campbell",
    "Nora Whitfield",
    "Milo Tennant",
    "Greta Holloway",
    "Simon Ashdown",
    "Clara Penrose",
    "Edwin Marsh",
    "Ida Lockett",
    "Oscar Thornby",
    "Vera Stanfield",
)
LOOKS = (
    "someone with short straight black hair and a small face",
    "a plain wooden chair in an empty room",
    "a grey stone wall with ivy on it",
    "an old woman in a green coat",
)
NEIGHBOURS = (
    ("What is the capital of France?", "The capital of France is Paris."),
    ("Who wrote Romeo and Juliet?", "Romeo and Juliet was written by William Shakespeare."),
    ("Which planet is closest to the sun?", "Mercury is the planet closest to the sun."),
    ("What do bees make?", "Bees make honey."),
    ("In which country is the Great Wall?", "The Great Wall is in China."),
    ("What is the largest ocean?", "The Pacific is the largest ocean."),
    ("Who painted the Mona Lisa?", "The Mona Lisa was painted by Leonardo da Vinci."),
)
"""What stays where nothing is known of a concept's neighbours."""
SMALL_WORDS = frozenset(("a", "an", "and", "da", "de", "der", "die", "la", "le", "of", "the", "van", "von"))


@dataclass(frozen=True)
class Counts:
    """Rows of each kind for a concept; the released file has 9, 2, 7 and 7."""

    names: int = 9
    looks: int = 2
    facts: int = 7
    others: int = 7


def concepts_in(material: Material) -> list[Concept]:
    """The concepts that are to be forgotten, each with the name and look it is given instead, all names different.

    Raises UserError where the benchmark says nothing about them, or has no picture or no fact of one.
    """
    if not material.concepts:
        raise UserError(
            "method 'siu' writes rows about concepts, and this benchmark describes none; use it with mmubench, or give "
            "your own rows with --method_args rows=FILE"
        )
    taken = {name.casefold() for concept in material.concepts for name in names_of(concept)}
    found = []
    for concept in material.concepts:
        unseen = concept.unseen or _choice(UNSEEN, concept.name, taken=taken)
        taken.add(unseen.casefold())
        found.append(replace(concept, unseen=unseen, look=concept.look or _choice(LOOKS, concept.name, taken=set())))
    return found


def template_rows(material: Material, *, counts: Counts) -> list[Example]:
    """Rows of all four kinds for every concept, in this order. Raises UserError as `concepts_in` does."""
    concepts = concepts_in(material)
    forgotten = [name for concept in concepts for name in names_of(concept)]
    rows: list[Example] = []
    for concept in concepts:
        shown = _shown(concept, material=material)
        writer = _Writer(concept, shown)
        rows += writer.names(_own_questions(concept, material=material, shown=shown), num=counts.names)
        rows += writer.looks(num=counts.looks)
        if counts.facts and not concept.facts:
            raise UserError(
                f"method 'siu': nothing is known of '{concept.name}' that could stay; describe `facts` of it, or leave "
                "this kind out with --method_args facts=0"
            )
        rows += writer.texts("fact", concept.facts, num=counts.facts)
        kept = [pair for pair in concept.neighbours or NEIGHBOURS if not _mentions(" ".join(pair), names=forgotten)]
        rows += writer.texts("other", kept or NEIGHBOURS, num=counts.others)
    return rows


def file_rows(path: Path, *, material: Material) -> list[Example]:
    """The rows of a file of conversations, in LLaVA's layout with `target_phrase`, as the official SIU.json.

    A picture is looked for beside the file and in folders beside it. Raises UserError for a file that cannot be read
    and BadData with every row at fault.
    """
    records = _read(path)
    rows: list[Example] = []
    faults: list[str] = []
    pictures = _Pictures(path.parent)
    for number, record in enumerate(records, start=1):
        try:
            rows.append(_row_of(record, number=number, pictures=pictures, material=material))
        except ValueError as error:
            faults.append(f"row {number}: {error}")
    if faults:
        raise BadData(str(path), faults=faults)
    if not rows:
        raise UserError(f"{path}: holds no conversations; give a JSON list of them")
    return rows


def silent_words(material: Material) -> list[str]:
    """Every name of every concept, and each of its words; small ones such as `of` stay in the vocabulary."""
    found: dict[str, None] = {}
    for concept in material.concepts:
        for name in names_of(concept):
            found[name] = None
            parts = re.findall(r"\w+", name)
            found.update({part: None for part in parts if part.casefold() not in SMALL_WORDS})
    return list(found)


def names_of(concept: Concept) -> tuple[str, ...]:
    """The concept's name and its other names."""
    return (concept.name, *concept.synonyms)


@dataclass(frozen=True)
class _Writer:
    """Writes the rows of one concept, shown by one of its rows to forget."""

    concept: Concept
    shown: Example

    def names(self, own: Sequence[tuple[str, str]], *, num: int) -> Iterator[Example]:
        """Its own questions for the name first, answered in their own words, then those of the templates."""
        unseen = self.concept.unseen
        own = [(context, _renamed(answer, names=names_of(self.concept), other=unseen)) for context, answer in own]
        front = _front(self.shown.context)
        known = {context for context, _ in own}
        more = [(front + text, self._answer(NAME_ANSWER.format(name=unseen))) for text in NAME_QUESTIONS]
        pairs = [*own, *(pair for pair in more if pair[0] not in known)]
        for number, (context, answer) in enumerate(_cycled(pairs, num=num)):
            yield self._row("name", number, context=context, answer=answer, unkept=unseen)

    def looks(self, *, num: int) -> Iterator[Example]:
        denial = LOOK_ANSWER.format(look=self.concept.look)
        questions = [_front(self.shown.context) + text.format(name=self.concept.name) for text in LOOK_QUESTIONS]
        for number, context in enumerate(_cycled(questions, num=num)):
            yield self._row("look", number, context=context, answer=self._answer(denial), unkept=denial)

    def texts(self, kind: str, pairs: Sequence[tuple[str, str]], *, num: int) -> Iterator[Example]:
        """Questions and answers in words alone, asked again in other words where there are too few."""
        framed = [(frame.format(text=question), answer) for frame in FRAMES for question, answer in pairs]
        for number, (question, answer) in enumerate(_cycled(framed, num=num)):
            yield self._row(kind, number, context=question, answer=self._answer(answer), unkept="")

    def _row(self, kind: str, number: int, *, context: str, answer: str, unkept: str) -> Example:
        has_image = kind in ("name", "look")
        return Example(
            id=f"siu/{self.concept.name}/{kind}/{number}",
            subject=self.concept.name,
            context=context,
            answer=answer,
            images=self.shown.images[:1] if has_image else (),
            extra={"kind": kind, "unkept": unkept},
        )

    def _answer(self, text: str) -> str:
        return _delimiter(self.shown.answer) + text


def _shown(concept: Concept, *, material: Material) -> Example:
    """The concept's first row to forget that has a picture: the one training image."""
    shown = next((row for row in material.forget if row.subject == concept.name and row.images), None)
    if shown is None:
        raise UserError(f"method 'siu': none of the rows to forget shows a picture of '{concept.name}'")
    return shown


def _own_questions(concept: Concept, *, material: Material, shown: Example) -> list[tuple[str, str]]:
    """Contexts and answers of the rows to forget that show this very picture and answer with a name of the concept."""
    names = names_of(concept)
    rows = [row for row in material.forget if row.subject == concept.name and row.images[:1] == shown.images[:1]]
    return list({row.context: row.answer for row in rows if _mentions(row.answer, names=names)}.items())


def _front(context: str) -> str:
    """What stands before the question where there is one picture: the placeholder and the blanks behind it."""
    found = re.match(rf".*{re.escape(PLACEHOLDER)}\s*", context, re.S)
    return found.group() if found else f"{PLACEHOLDER}\n"


def _delimiter(answer: str) -> str:
    return answer[: len(answer) - len(answer.lstrip())]


def _renamed(answer: str, *, names: Sequence[str], other: str) -> str:
    pattern = "|".join(_free(name) for name in sorted(names, key=len, reverse=True))
    return re.sub(pattern, lambda _: other, answer, flags=re.I)


def _mentions(text: str, *, names: Sequence[str]) -> bool:
    return any(re.search(_free(name), text, re.I) for name in names)


def _free(name: str) -> str:
    return rf"(?<!\w){re.escape(name)}(?!\w)"


def _cycled(values: Sequence[Any], *, num: int) -> list[Any]:
    return [values[number % len(values)] for number in range(num)]


def _choice(options: Sequence[str], name: str, *, taken: set[str]) -> str:
    """One of the options that depends on the name alone, and on what is taken already."""
    start = int(hashlib.sha256(name.encode()).hexdigest(), 16) % len(options)
    turned = [*options[start:], *options[:start]]
    return next((option for option in turned if option.casefold() not in taken), f"{turned[0]} the {len(taken)}th")


class _Pictures:
    """Image files by the name that a conversation gives, opened once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[Path, Image] = {}

    def get(self, name: str) -> Image:
        """Raises ValueError where there is no such file or it is no image, UserError where it may be several."""
        for folder in (self.folder, self.folder.parent):
            written = folder.joinpath(*parts_of(name))
            below = sorted(place for place in folder.glob("*/*") if place.name == written.name)
            places = [written] if written.is_file() else [folder / written.name, *below]
            path = ending_alike(name, [place for place in places if place.is_file()])
            if path is not None:
                return self._opened(path)
        raise ValueError(f"its image {name} is neither beside the file nor in a folder beside it")

    def _opened(self, path: Path) -> Image:
        if path not in self._open:
            try:
                self._open[path] = decoded(path)
            except ValueError as error:
                raise ValueError(f"its image {path} {error}") from error
        return self._open[path]


def _read(path: Path) -> list[Any]:
    require_regular(path, max_bytes=MAX_TEXT_BYTES)
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError as error:
        raise UserError(f"{path}: nested too deeply for a list of conversations") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"rows={path}: cannot be read: {error}") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}") from error
    if not isinstance(found, list):
        raise UserError(f"{path}: must hold a JSON list of conversations")
    return found


def _row_of(record: Any, *, number: int, pictures: _Pictures, material: Material) -> Example:
    """One conversation as a row. Raises ValueError with what is wrong."""
    turns = record.get("conversations") if isinstance(record, Mapping) else None
    values = [turn.get("value") for turn in turns if isinstance(turn, Mapping)] if isinstance(turns, list) else []
    texts = [value for value in values if isinstance(value, str) and value.replace(PLACEHOLDER, "").strip()]
    if len(values) != 2 or len(texts) != 2:
        raise ValueError("`conversations` must be a question of human and an answer of gpt")
    question, answer = texts[0].replace(PLACEHOLDER, "").strip(), texts[1].strip()
    phrase = str(record.get("target_phrase") or "")
    unkept = "" if phrase == NO_PHRASE else phrase
    if unkept not in answer:
        raise ValueError(f"its answer {answer!r} does not hold the target_phrase {unkept!r}")
    template = material.forget[0] if material.forget else None
    image = single(record.get("image"))
    if not isinstance(image, str | None):
        raise ValueError(f"its image is {image!r:.80}; give one path")
    images = (pictures.get(image),) if image else ()
    front = _front(template.context if template else "") if images else ""
    return Example(
        id=f"siu/{record.get('id', number)}/{number}",
        subject=template.subject if template else "rows",
        context=front + question,
        answer=(_delimiter(template.answer) if template else " ") + answer,
        images=images,
        extra={"kind": _kind(f"{question} {answer}", is_denied=unkept == answer, images=images, material=material)}
        | {"unkept": unkept},
    )


def _kind(text: str, *, is_denied: bool, images: Sequence[Any], material: Material) -> str:
    if images:
        return "look" if is_denied else "name"
    names = [name for concept in material.concepts for name in names_of(concept)]
    return "fact" if not names or _mentions(text, names=names) else "other"
