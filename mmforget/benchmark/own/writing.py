"""`mmforget new request FOLDER`: looks at a table and pictures and writes the `request.yaml` that one would write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from mmforget.benchmark.files import is_hidden
from mmforget.benchmark.own.corpus import Corpus, pictures_below, read_request
from mmforget.benchmark.own.spec import COLUMNS, FILE, NEEDED_COLUMNS, REPHRASINGS, parse_spec
from mmforget.benchmark.own.table import ENDINGS, Table, read_table
from mmforget.errors import UserError, cut
from mmforget.reading import files_below
from mmforget.yaml_text import parse_yaml

GUESSES: Mapping[str, Sequence[str]] = {
    "subject": ("subject", "name", "person", "who", "identity", "entity", "label", "patient"),
    "question": ("question", "prompt", "query", "q", "ask"),
    "answer": ("answer", "response", "a", "reply", "caption"),
    "image": ("image", "picture", "photo", "file", "filename", "file_name", "image_path", "path", "img"),
    "keywords": ("keywords", "keyword", "secret"),
}
"""What a column may be called, likeliest first."""
FLAGS = ("forget", "to_forget", "remove", "delete", "erase")
YES = ("1", "true", "yes", "y", "x", "forget", "ja", "oui", "si")
MAX_SHOWN = 400
WIDTH = 2**31
"""Of a line of YAML: no text is broken."""
HEAD = """\
# A forget request: whom a model should forget, whom it should keep, and where that is written.
# What is wrong with it says:       mmforget validate request --data FOLDER
# It is carried out by:             mmforget run --tasks request --data FOLDER --methods npo ...
# All keys are in docs/requests.md.
"""


@dataclass(frozen=True)
class Proposal:
    """What is written: the text of the file, what it means, and what had to be guessed of whom to forget."""

    text: str
    corpus: Corpus
    guess: str


def propose(folder: Path, *, forget: Sequence[str]) -> Proposal:
    """The request of a folder with a table, with pictures, or both.

    Args:
        forget: names of those to be forgotten; without any, those whom a column of the table marks, else the first.

    Raises UserError where there is nothing to ask about, a column is missing, or the data cannot be used.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the folder that holds the table and the pictures")
    if (folder / FILE).exists():
        raise UserError(f"{folder / FILE} is there already; edit it, or remove it to have it written anew")
    path = _table_in(folder)
    lines = _of_pictures(folder, forget=forget) if path is None else _of_table(path, folder=folder, forget=forget)
    text = HEAD + "\n".join(_common(folder) + lines.yaml) + "\n"
    spec = parse_spec(parse_yaml(text), source=FILE)
    return Proposal(text, read_request(spec, folder=folder), lines.guess)


@dataclass(frozen=True)
class _Lines:
    yaml: list[str]
    guess: str


def _common(folder: Path) -> list[str]:
    return [
        f"title: {_quoted(f'Request of {folder.resolve().name}')}  # stands on the report",
        'asked_by: ""  # who asked, and when, for the report',
        'asked_on: ""',
        "",
    ]


def _table_in(folder: Path) -> Path | None:
    """The one table of a folder. Raises UserError where there are several."""
    found = [path for path in files_below(folder, "*") if path.suffix.lower() in ENDINGS]
    found = [path for path in found if not is_hidden(path, below=folder)]
    if len(found) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in found)
        raise UserError(f"{folder}: holds {len(found)} tables ({cut(names, limit=MAX_SHOWN)}); leave the one meant")
    return found[0] if found else None


def _of_table(path: Path, *, folder: Path, forget: Sequence[str]) -> _Lines:
    table = read_table(path)
    columns = _columns(table, path=path)
    marked = _marked(table, subject=columns["subject"])
    subjects = list(Counter(str(line.cells.get(columns["subject"]) or "").strip() for line in table.lines))
    names, guess = _whom(forget, marked=marked, subjects=subjects)
    yaml = [f"table: {_quoted(path.relative_to(folder).as_posix())}", "columns:  # what the table calls them"]
    yaml += [f"  {name}: {_quoted(columns[name])}" for name in COLUMNS if name in columns]
    if "image" not in columns and pictures_below(folder):
        yaml.append('pictures: "."  # by folder or file name, each subject\'s')
    return _Lines([*yaml, *_who(names, guess=guess), *_rephrasings()], guess)


def _of_pictures(folder: Path, *, forget: Sequence[str]) -> _Lines:
    subjects = list(pictures_below(folder))
    if not subjects:
        raise UserError(
            f"{folder}: holds neither a table ({', '.join(ENDINGS)}) nor a picture; a table has a row a question, with "
            "columns subject, question, answer and image"
        )
    names, guess = _whom(forget, marked=[], subjects=subjects)
    yaml = ['pictures: "."  # by folder or file name, each subject\'s', "questions:  # asked about every picture"]
    yaml += ['  - question: "Who is this?"', '    answer: "This is {subject}."']
    return _Lines([*yaml, *_who(names, guess=guess), *_rephrasings()], guess)


def _columns(table: Table, *, path: Path) -> dict[str, str]:
    """By what they are, the columns of a table. Raises UserError where one that is needed is not told by its name."""
    plain = {column.strip().lower().replace(" ", "_"): column for column in reversed(table.columns)}
    found: dict[str, str] = {}
    for name, guesses in GUESSES.items():
        known = [plain[guess] for guess in guesses if guess in plain and plain[guess] not in found.values()]
        if known:
            found[name] = known[0]
    missing = [name for name in NEEDED_COLUMNS if name not in found]
    if missing:
        shown = ", ".join(map(repr, table.columns))
        raise UserError(
            f"{path}: no column is called {' or '.join(missing)}; its columns are {cut(shown, limit=MAX_SHOWN)}; "
            "rename one"
        )
    return found


def _marked(table: Table, *, subject: str) -> list[str]:
    """The subjects that a column marks as to be forgotten; none without such a column."""
    flag = next((column for column in table.columns if column.strip().lower() in FLAGS), None)
    if flag is None:
        return []
    told = (line.cells for line in table.lines if str(line.cells.get(flag) or "").strip().lower() in YES)
    return list(dict.fromkeys(str(cells.get(subject) or "").strip() for cells in told))


def _whom(forget: Sequence[str], *, marked: Sequence[str], subjects: Sequence[str]) -> tuple[list[str], str]:
    """Whom to forget, and what is to be said where that is a guess."""
    if forget or marked:
        return list(forget or marked), ""
    first = subjects[0] if subjects else ""
    return [
        first
    ], f"nobody says who is to be forgotten: it is {first!r}, the first; edit forget, or give --forget NAME"


def _who(names: Sequence[str], *, guess: str) -> list[str]:
    listed = [f"  - {_quoted(name)}" for name in names]
    return ["", "forget:" + ("  # the first subject: edit this" if guess else ""), *listed, "keep: all others"]


def _rephrasings() -> list[str]:
    return ["", "rephrasings:  # asked as well, to see whether only the words were forgotten",
            *(f"  - {_quoted(text)}" for text in REPHRASINGS)]  # fmt: skip


def _quoted(text: str) -> str:
    """A text as YAML reads it back, whatever is in it."""
    found: str = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=WIDTH)
    return found.rstrip("\n")
