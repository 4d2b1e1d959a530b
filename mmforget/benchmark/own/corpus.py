"""A folder of one's own, read as a spec says: every question about a subject with its answer and picture.

What cannot be used is a fault; what is left out on purpose (doubles, subjects that are neither forgotten nor kept) is
counted. No path leads out of the folder.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mmforget.benchmark.files import IMAGE_SUFFIXES, is_hidden
from mmforget.benchmark.images import ImageValue, from_file
from mmforget.benchmark.own.spec import Spec, filled, place_of, read_spec
from mmforget.benchmark.own.table import Line, Table, read_table
from mmforget.errors import BadData, UnknownName, UserError, cut, shortened
from mmforget.reading import files_below

MAX_SHOWN = 400
KEYWORDS = ";"
"""Stands between the keywords of a cell."""


class Entry(NamedTuple):
    """A question about a subject.

    Attributes:
        keywords: words that give the answer away; empty where nothing says which.
        image: the picture that it is asked about; None where it is asked in words alone.
    """

    subject: str
    question: str
    answer: str
    keywords: tuple[str, ...] = ()
    image: ImageValue | None = None


@dataclass(frozen=True)
class Corpus:
    """Everything that a request is about.

    Attributes:
        forget, keep: what is asked about whom.
        notes: what was guessed or left out, counted.
    """

    spec: Spec
    forget: tuple[Entry, ...]
    keep: tuple[Entry, ...]
    notes: tuple[str, ...] = ()

    @property
    def has_pictures(self) -> bool:
        return any(entry.image is not None for entry in self.forget)


def read_folder(data: str) -> Corpus:
    """What a request's folder, or its file, holds.

    Raises UserError for a file that cannot be used, BadData with every row at fault.
    """
    path = place_of(data)
    return read_request(read_spec(path), folder=path.parent)


def read_request(spec: Spec, *, folder: Path) -> Corpus:
    """What a spec means in a folder. Raises what `read_folder` does."""
    pictures = Pictures.of(spec, folder=folder)
    notes: list[str] = []
    table = _table(spec, folder=folder)
    listed = [] if table is None else _listed(spec, table, pictures=pictures, notes=notes)
    subjects = dict.fromkeys(entry.subject for entry in listed) or dict.fromkeys(pictures.by_subject)
    subjects = subjects or dict.fromkeys((*spec.forget, *(spec.keep or ())))
    unasked = pictures.by_key.keys() - set(map(key_of, subjects))
    if unasked:
        notes.append(f"pictures of {len(unasked)} names that the table has not: left out")
    entries = [*listed, *_asked_about_all(spec, subjects=list(subjects), pictures=pictures)]
    return _divided(spec, _each_once(entries, notes=notes), notes=notes)


def key_of(name: str) -> str:
    """A name as it is compared: case, and the signs that stand for blanks in file names, do not count."""
    return " ".join(re.split(r"[\s_-]+", unicodedata.normalize("NFC", name).casefold())).strip()


class Pictures(NamedTuple):
    """Where pictures are.

    Attributes:
        root: the folder that names in a table mean.
        top: the folder that they may not leave.
        by_subject: by the name in folder or file names, a subject's pictures; empty unless the spec has `pictures`.
        by_key: the same by `key_of` the name.
    """

    root: Path
    top: Path
    by_subject: Mapping[str, Sequence[Path]]
    by_key: Mapping[str, Sequence[Path]]

    @classmethod
    def of(cls, spec: Spec, *, folder: Path) -> Pictures:
        """Raises UserError where the folder of pictures is none, lies elsewhere, or holds no picture that is needed."""
        root = inside(folder, spec.pictures, what="pictures") if spec.pictures else folder
        if not spec.pictures or "image" in spec.columns:
            return cls(root, folder, {}, {})
        if not root.is_dir():
            raise UserError(f"pictures: {root} is no folder; name the folder that the pictures are in")
        found = pictures_below(root)
        if not found:
            raise UserError(f"pictures: {root} holds no picture ({', '.join(IMAGE_SUFFIXES)})")
        for path in (one for paths in found.values() for one in paths if one.is_symlink()):
            inside(folder, str(path.relative_to(root)), what="picture", root=root)
        return cls(root, folder, found, {key_of(name): paths for name, paths in found.items()})

    def named(self, written: str) -> Path:
        """The picture that a table names. Raises UserError where it is not there, or lies outside the folder."""
        path = inside(self.top, written.replace("\\", "/"), what="picture", root=self.root)
        if not path.is_file():
            raise UserError(f"picture {shortened(written)} is not in {self.root}")
        return path

    def of_subject(self, name: str) -> Sequence[Path]:
        """The pictures of a subject. Raises UserError where there is none."""
        if key_of(name) not in self.by_key:
            raise UserError(f"no picture of {shortened(name)} in {self.root}: neither a folder nor a file of that name")
        return self.by_key[key_of(name)]


def pictures_below(root: Path) -> dict[str, list[Path]]:
    """By subject, the pictures of a folder: by the folder that each is in, or where all are in one by their file names.

    A file name counts without the number that it ends in; of names that are alike to `key_of` the first stands for all.
    """
    found: dict[str, list[Path]] = {}
    names: dict[str, str] = {}
    paths = [path for path in files_below(root, "*") if path.suffix.lower() in IMAGE_SUFFIXES]
    paths = [path for path in paths if not is_hidden(path, below=root)]
    is_flat = len({path.parent for path in paths}) == 1
    for path in paths:
        stem = re.sub(r"[\s_.-]*\d*$", "", path.stem) or path.stem
        name = (stem if is_flat or path.parent == root else path.parent.name).replace("_", " ")
        found.setdefault(names.setdefault(key_of(name), name), []).append(path)
    return found


def inside(top: Path, written: str, *, what: str, root: Path | None = None) -> Path:
    """A path below `root`, which is `top` unless given. Raises UserError where it leads out of `top`."""
    path = (root or top) / written
    try:
        is_inside = path.resolve().is_relative_to(top.resolve())
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{what} {shortened(written)}: no path ({error})") from error
    if not is_inside:
        raise UserError(f"{what} {shortened(written)} leads out of {top}; put the file into the folder")
    return path


def _table(spec: Spec, *, folder: Path) -> Table | None:
    if not spec.table:
        return None
    path = inside(folder, spec.table, what="table")
    table = read_table(path, separator=spec.separator, encoding=spec.encoding)
    missing = {name: column for name, column in spec.columns.items() if column not in table.columns}
    if missing:
        named = ", ".join(f"{column!r} (for {name})" for name, column in missing.items())
        shown = ", ".join(map(repr, table.columns))
        raise UserError(f"{path}: has no column {named}; its columns are {cut(shown, limit=MAX_SHOWN)}")
    if not table.lines:
        raise UserError(f"{path}: has no row below its header")
    return table


def _listed(spec: Spec, table: Table, *, pictures: Pictures, notes: list[str]) -> list[Entry]:
    """The entries of a table. Raises BadData naming every line at fault."""
    found: list[Entry] = []
    faults: list[str] = []
    for line in table.lines:
        try:
            found += _entries(line, spec=spec, pictures=pictures)
        except UserError as error:
            faults.append(f"{line.label}: {error}")
    if faults:
        raise BadData(spec.table, faults=faults)
    notes += table.notes
    return found


def _entries(line: Line, *, spec: Spec, pictures: Pictures) -> Iterator[Entry]:
    """A line about one picture, or about each of its subject's. Raises UserError where a cell is none."""
    texts = {name: _text(line, spec.columns[name]) for name in ("subject", "question", "answer")}
    keywords = _keywords(line, spec.columns.get("keywords"))
    for image in _images(line, spec=spec, pictures=pictures, subject=texts["subject"]):
        yield Entry(**texts, keywords=keywords, image=image)


def _images(line: Line, *, spec: Spec, pictures: Pictures, subject: str) -> list[ImageValue | None]:
    if "image" in spec.columns:
        written = line.cells.get(spec.columns["image"])
        if written is not None and not isinstance(written, str):
            raise UserError(f"{spec.columns['image']} is {shortened(written)}; give the name of one picture")
        return [from_file(pictures.named(written.strip()))] if written and written.strip() else [None]
    if pictures.by_subject:
        return [from_file(path) for path in pictures.of_subject(subject)]
    return [None]


def _text(line: Line, column: str) -> str:
    value = line.cells.get(column)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if value is not None and not isinstance(value, str):
        raise UserError(f"{column} is {shortened(value)}, which is no text")
    if not value or not value.strip():
        raise UserError(f"{column} is empty")
    return unicodedata.normalize("NFC", value.strip())


def _keywords(line: Line, column: str | None) -> tuple[str, ...]:
    value = line.cells.get(column) if column is not None else None
    words = value if isinstance(value, list) else str(value or "").split(KEYWORDS)
    if not all(isinstance(word, str) for word in words):
        raise UserError(f"{column} is {shortened(value)}; give a list of texts, or a text with {KEYWORDS} between them")
    return tuple(word.strip() for word in words if word.strip())


def _asked_about_all(spec: Spec, *, subjects: Sequence[str], pictures: Pictures) -> Iterator[Entry]:
    """The questions that are put about every subject, once for each picture of it."""
    for subject in subjects if spec.questions else ():
        shown: list[ImageValue | None] = [None]
        if pictures.by_subject:
            shown = [from_file(path) for path in pictures.of_subject(subject)]
        for asking in spec.questions:
            question, answer = (filled(text, subject=subject) for text in (asking.question, asking.answer))
            keywords = tuple(filled(word, subject=subject) for word in asking.keywords)
            yield from (Entry(subject, question, answer, keywords, image) for image in shown)


def _each_once(entries: Sequence[Entry], *, notes: list[str]) -> list[Entry]:
    found: dict[tuple[object, ...], Entry] = {}
    for entry in entries:
        found.setdefault((*entry[:4], entry.image and entry.image["path"]), entry)
    if len(found) < len(entries):
        notes.append(f"{len(entries) - len(found)} rows that stand twice: each counts once")
    return list(found.values())


def _divided(spec: Spec, entries: Sequence[Entry], *, notes: list[str]) -> Corpus:
    """The entries of those to be forgotten and of those to be kept. Raises UserError where there are none of either."""
    counts = Counter(entry.subject for entry in entries)
    forget = _known(spec.forget, counts=counts, what="subject to be forgotten")
    keep = (
        _known(spec.keep, counts=counts, what="subject to be kept") if spec.keep is not None else set(counts) - forget
    )
    if both := sorted(forget & keep):
        raise UserError(f"{', '.join(both)}: named in forget and in keep; leave out one")
    if not keep:
        raise UserError(
            f"everybody in the data is to be forgotten ({len(counts)} in all), and nothing is kept: then nothing tells "
            "forgetting from damage; add rows about others"
        )
    others = len(counts) - len(forget) - len(keep)
    if others:
        left = sum(count for name, count in counts.items() if name not in forget | keep)
        notes.append(f"{others} subjects with {left} rows are neither forgotten nor kept: left out")
    forgotten, kept = (tuple(entry for entry in entries if entry.subject in names) for names in (forget, keep))
    return Corpus(spec, forgotten, kept, notes=tuple(notes))


def _known(names: Sequence[str], *, counts: Mapping[str, int], what: str) -> set[str]:
    """The subjects that are meant, however the data write them. Raises UnknownName for the first that is not there."""
    known = {name: key_of(name) for name in counts}
    for name in names:
        if key_of(name) not in known.values():
            raise UnknownName(what, name=name, known=counts)
    wanted = {key_of(name) for name in names}
    return {name for name, key in known.items() if key in wanted}
