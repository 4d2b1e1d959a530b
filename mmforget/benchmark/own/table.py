"""A stranger's table: CSV of any usual separator and encoding, or JSON lines; columns by name, rows by line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmforget.benchmark.files import read_records
from mmforget.errors import BadData, UserError, one_line, shortened
from mmforget.reading import MAX_TEXT_BYTES, require_regular

SEPARATORS = (",", ";", "\t", "|")
ENDINGS = (".csv", ".tsv", ".txt", ".jsonl", ".json")
LINES = (".jsonl", ".json")
MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
FALLBACK = "cp1252"
"""What programs on Windows write where they do not write UTF-8."""


class Line(NamedTuple):
    """A row of a table: where it stands, and its cells by column."""

    label: str
    cells: Mapping[str, Any]


class Table(NamedTuple):
    """A table as it was read.

    Attributes:
        columns: in order.
        notes: what had to be guessed, and what was left out, counted.
    """

    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()


def read_table(path: Path, *, separator: str = "", encoding: str = "") -> Table:
    """The rows of a file; empty ones are left out and counted.

    Args:
        separator, encoding: of a CSV file; found out where empty.

    Raises UserError for a file that cannot be read, BadData naming every line that does not fit the header.
    """
    if path.suffix.lower() not in ENDINGS:
        raise UserError(f"{path}: not a table that is read; give one of {', '.join(ENDINGS)}")
    if path.suffix.lower() in LINES:
        return _objects(path)
    text, notes = _decoded(path, encoding=encoding)
    separator = _separator(text, given=separator, path=path)
    table = _cells(path, text, separator=separator)
    return table._replace(notes=(*notes, *table.notes))


def _objects(path: Path) -> Table:
    records = read_records(path)
    faults = [f"record {number}: is {shortened(one)}, no object" for number, one in enumerate(records, start=1) if not
              isinstance(one, Mapping)]  # fmt: skip
    if faults:
        raise BadData(str(path), faults=faults)
    columns = tuple(dict.fromkeys(str(name) for one in records for name in one))
    return Table(columns, tuple(Line(f"record {number}", one) for number, one in enumerate(records, start=1)))


def _decoded(path: Path, *, encoding: str) -> tuple[str, list[str]]:
    """The file's text, and a note where its encoding is a guess."""
    require_regular(path, max_bytes=MAX_TEXT_BYTES)
    content = path.read_bytes()
    marked = next((name for mark, name in MARKS.items() if content.startswith(mark)), "")
    if b"\0" in content and not (encoding or marked):
        raise UserError(f"{path}: holds zero bytes and is no text; save it as CSV UTF-8, or give encoding: utf-16-le")
    name = encoding or marked or "utf-8"
    try:
        return content.decode(name), []
    except UnicodeError as error:
        if encoding or marked:
            raise UserError(f"{path}: is not {name} ({one_line(error)[:80]}); give another encoding") from error
    except (LookupError, ValueError) as error:
        raise UserError(f"{path}: no encoding is called {shortened(name)}; give e.g. encoding: utf-8") from error
    try:
        return content.decode(FALLBACK), [
            f"{path.name} is not UTF-8 and is read as Windows-1252; encoding: says otherwise"
        ]
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: neither UTF-8 nor Windows-1252 (byte {error.start}); say which with encoding: NAME"
        ) from error


def _separator(text: str, *, given: str, path: Path) -> str:
    """The separator that is given, or stands in the first line outside quotes most often; a table has two columns."""
    if given:
        found = "\t" if given in ("tab", "\\t") else given
        if len(found) != 1:
            raise UserError(f"{path}: separator is {shortened(given)}; give one character, or tab")
        return found
    # Any line end counts, and no field is longer than the reader takes: it would raise an error of its own.
    first = next((line for line in io.StringIO(text, newline=None) if line.strip()), "")[: csv.field_size_limit()]
    counts = {one: sum(1 for _ in next(csv.reader([first], delimiter=one), [])) for one in SEPARATORS}
    return max(SEPARATORS, key=lambda one: counts[one])


def _cells(path: Path, text: str, *, separator: str) -> Table:
    faults: list[str] = []
    found = _records(path, text, separator=separator)
    header = next(found, (0, []))[1]
    columns = tuple(name.strip() for name in header)
    if not any(columns):
        raise UserError(f"{path}: is empty; its first line has the names of the columns")
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise UserError(f"{path}: two columns are named {', '.join(twice)}; rename one")
    lines, num_empty = [], 0
    for number, cells in found:
        if not any(cell.strip() for cell in cells):
            num_empty += 1
        elif len(cells) > len(columns):
            faults.append(
                f"line {number}: {len(cells)} cells for {len(columns)} columns; put quotes around a text with "
                f"{shortened(separator)} in it"
            )
        else:
            padded = [*cells, *[""] * (len(columns) - len(cells))]
            lines.append(Line(f"line {number}", dict(zip(columns, padded, strict=True))))
    if faults:
        raise BadData(str(path), faults=faults)
    return Table(columns, tuple(lines), (f"{num_empty} empty lines of {path.name}: left out",) if num_empty else ())


def _records(path: Path, text: str, *, separator: str) -> Iterator[tuple[int, Sequence[str]]]:
    """Every record with the line it ends on. Blanks behind a separator are no part of a cell."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: not valid CSV: {one_line(error)}") from error
