"""`request.yaml`: who is to be forgotten, what is kept, and where it lies. A closed schema; all faults at once."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mmforget.benchmark.document import Faults
from mmforget.errors import UserError, one_line, shortened
from mmforget.reading import read_text
from mmforget.yaml_text import parse_yaml

FILE = "request.yaml"
MAX_BYTES = 2**20
ALL_OTHERS = "all others"
COLUMNS = ("subject", "question", "answer", "image", "keywords")
NEEDED_COLUMNS = ("subject", "question", "answer")
REPHRASINGS = (
    "Please tell me: {question}",
    "In a few words: {question}",
    "I would like to know this. {question}",
)
TEXTS = ("title", "asked_by", "asked_on", "table", "separator", "encoding", "pictures")
OPTIONAL = (*TEXTS, "columns", "questions", "keep", "rephrasings")


@dataclass(frozen=True)
class Asking:
    """A question that is put about every subject; `{subject}` stands for the name.

    Attributes:
        keywords: words that give the answer away.
    """

    question: str
    answer: str
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True)
class Spec:
    """What the file says.

    Attributes:
        title, asked_by, asked_on: for the report.
        table: the CSV or JSON-lines file, below the folder; empty where `questions` say everything.
        columns: by `COLUMNS`, what the table calls them.
        separator, encoding: of a CSV file; empty where they are found out.
        pictures: the folder below this one that pictures are in. Without a column for them, a subject's pictures are
            those in the folder of its name, or whose file names begin with it.
        questions: asked about every subject, beside those of the table.
        forget: names of the subjects to be forgotten.
        keep: names of those to be kept; None: all others.
        rephrasings: other ways to put a question, `{question}` and `{subject}` being filled in.
    """

    forget: tuple[str, ...]
    title: str = ""
    asked_by: str = ""
    asked_on: str = ""
    table: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    separator: str = ""
    encoding: str = ""
    pictures: str = ""
    questions: tuple[Asking, ...] = ()
    keep: tuple[str, ...] | None = None
    rephrasings: tuple[str, ...] = REPHRASINGS


def place_of(data: str) -> Path:
    """The request's file, of its folder or of itself. Raises UserError where there is none."""
    path = Path(data).expanduser()
    found = path / FILE if path.is_dir() else path
    if not found.is_file():
        raise UserError(f"{path}: holds no {FILE}; 'mmforget new request {path}' writes one")
    return found


def read_spec(path: Path) -> Spec:
    """What the file says. Raises UserError with every fault of it."""
    try:
        found = parse_yaml(read_text(path, max_bytes=MAX_BYTES))
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML: {one_line(error)[:200]}") from error
    return parse_spec(found, source=str(path))


def parse_spec(value: Any, *, source: str) -> Spec:
    """The spec in a mapping. Raises UserError with every fault, naming `source`."""
    faults = Faults(source)
    if faults.keys(value, at="the request", needed=("forget",), optional=OPTIONAL):
        for name in TEXTS:
            if not isinstance(value.get(name, ""), str):
                faults.found.append(f"{name} is {shortened(value[name])}; give a text, in quotes")
        _check_names(value, faults=faults)
        _check_columns(value, faults=faults)
        _check_questions(value.get("questions", []), faults=faults)
        _check_templates(value.get("rephrasings", []), faults=faults)
    faults.raise_any()
    return _spec(value)


def _spec(value: Mapping[str, Any]) -> Spec:
    texts = {name: value[name] for name in TEXTS if value.get(name)}
    questions = tuple(
        Asking(one["question"], one["answer"], tuple(one.get("keywords", ()))) for one in value.get("questions", ())
    )
    keep = value.get("keep", ALL_OTHERS)
    return Spec(
        tuple(value["forget"]),
        **texts,
        columns=dict(value.get("columns", {})),
        questions=questions,
        keep=None if keep == ALL_OTHERS else tuple(keep),
        rephrasings=tuple(value.get("rephrasings", REPHRASINGS)),
    )


def _check_names(value: Mapping[str, Any], *, faults: Faults) -> None:
    faults.texts(value["forget"], at="forget")
    if value["forget"] == []:
        faults.found.append("forget names nobody; list the names of the subjects to be forgotten")
    if value.get("keep", ALL_OTHERS) != ALL_OTHERS:
        faults.texts(value["keep"], at="keep")


def _check_columns(value: Mapping[str, Any], *, faults: Faults) -> None:
    columns, table = value.get("columns", {}), value.get("table")
    if not table and not value.get("questions"):
        faults.found.append("there is neither a table nor questions; give table: FILE.csv, or questions for all")
    if not table and columns:
        faults.found.append("columns are those of a table, and there is none; give table: FILE.csv or leave them out")
    if faults.keys(columns, at="columns", needed=NEEDED_COLUMNS if table else (), optional=COLUMNS):
        faults.texts_at(columns, *columns, at="columns")


def _check_questions(value: Any, *, faults: Faults) -> None:
    if not isinstance(value, list):
        faults.found.append(f"questions is {shortened(value)}; give a list of question and answer")
        return
    for number, one in enumerate(value):
        at = f"questions[{number}]"
        if faults.keys(one, at=at, needed=("question", "answer"), optional=("keywords",)):
            faults.texts_at(one, "question", "answer", at=at)
            words = one.get("keywords", [])
            faults.texts(words, at=f"{at}.keywords")
            templates = {part: one[part] for part in ("question", "answer")}
            if isinstance(words, list):
                templates |= {f"keywords[{place}]": word for place, word in enumerate(words)}
            for part, text in templates.items():
                _check_fields(text, allowed=("subject",), faults=faults, at=f"{at}.{part}")


def _check_templates(value: Any, *, faults: Faults) -> None:
    faults.texts(value, at="rephrasings")
    for number, one in enumerate(value if isinstance(value, list) else ()):
        names = _check_fields(one, allowed=("question", "subject"), faults=faults, at=f"rephrasings[{number}]")
        if names is not None and "question" not in names:
            faults.found.append(
                f"rephrasings[{number}] is {shortened(one)}, without {{question}}: the answer is no other"
            )


def _check_fields(text: Any, *, allowed: tuple[str, ...], faults: Faults, at: str) -> set[str] | None:
    """The fields of a template; None and a fault where it has others or is none."""
    if not isinstance(text, str):
        return None
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        faults.found.append(f"{at} is {shortened(text)}: {one_line(error)}; write {{{{ for a brace")
        return None
    names = {name for _, name, _, _ in parts if name is not None}
    bad = sorted(names - set(allowed)) or [text for _, name, form, how in parts if name is not None and (form or how)]
    if bad:
        faults.found.append(f"{at}: {{{bad[0]}}} is not filled in; known: {', '.join(f'{{{one}}}' for one in allowed)}")
        return None
    return names


def filled(template: str, **words: str) -> str:
    """A template whose fields were checked, with `{question}` and `{subject}` put in."""
    return template.format(**words)
