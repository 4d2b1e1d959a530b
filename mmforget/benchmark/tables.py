"""Tables of a published data set in whichever form they lie there: JSON, JSON lines, parquet, or a plain text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmforget.benchmark.files import read_records, read_text
from mmforget.errors import UserError, one_line, shortened

ENDINGS = ("json", "jsonl", "txt", "parquet")
NUM_SHOWN = 3


def table_files(folders: Sequence[Path], name: str) -> list[Path]:
    """The files of a table, in the first folder that has any: `<name>.json` or another ending, or the parts
    `<name>-00000-of-00002.parquet` that the Hub makes of it; none where there is none.
    """
    for folder in folders:
        whole = [path for ending in ENDINGS if (path := folder / f"{name}.{ending}").is_file()]
        if whole:
            return whole[:1]
        place = (folder / name).parent
        parts = sorted(place.glob(f"{Path(name).name}-*-of-*.parquet")) if place.is_dir() else []
        if parts:
            return parts
    return []


def read_table(files: Sequence[Path]) -> list[Any]:
    """The rows of all files in order. Of a plain text, the texts between blank lines.

    Raises UserError for a file that cannot be read.
    """
    return [row for path in files for row in _rows(path)]


def _rows(path: Path) -> list[Any]:
    if path.suffix == ".parquet":
        return _parquet(path)
    if path.suffix == ".txt":
        return [{"text": text} for text in map(str.strip, read_text(path).split("\n\n")) if text]
    return read_records(path)


def _parquet(path: Path) -> list[Any]:
    import pyarrow
    from pyarrow import parquet

    try:
        found: list[Any] = parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a parquet file that can be read: {one_line(error)}") from error
    return found


def text_of(record: Any, name: str, *, label: str, faults: list[str]) -> str:
    """A text of a record; what keeps it from being one goes to `faults` as one line with `label`."""
    value = record.get(name) if isinstance(record, Mapping) else None
    if isinstance(value, str) and value.strip():
        return value
    if not isinstance(record, Mapping):
        faults.append(f"{label}: is {shortened(record)}, no object with {name}")
    elif value is None or value == "" or (isinstance(value, str) and not value.strip()):
        faults.append(f"{label}: {name} is missing or empty")
    else:
        faults.append(f"{label}: {name} is not a text")
    return ""


def read_texts(files: Sequence[Path], *, label: str, faults: list[str]) -> tuple[str, ...]:
    """The texts of a table whose rows are texts or objects with one, `text`; what is none goes to `faults`."""
    rows = [{"text": row} if isinstance(row, str) else row for row in read_table(files)]
    return tuple(
        text_of(row, "text", label=f"{label} row {number}", faults=faults) for number, row in enumerate(rows, start=1)
    )


def repeated(questions: Sequence[str], *, of: str = "", is_shown: bool = True) -> list[str]:
    """One sentence on questions that stand several times, with their positions from 0; none where none does.

    Args:
        is_shown: the questions themselves are quoted.
    """
    again = [text for text, count in Counter(questions).items() if count > 1]
    if not again:
        return []
    places = {text: [str(place) for place, one in enumerate(questions) if one == text] for text in again}
    quoted = {text: f"'{text}' at " if is_shown else "at " for text in again}
    named = [quoted[text] + ", ".join(places[text]) for text in again[:NUM_SHOWN]]
    more = f" and {len(again) - NUM_SHOWN} more" if len(again) > NUM_SHOWN else ""
    noun = "question stands" if len(again) == 1 else "questions stand"
    told = f"{len(again)} {noun} more than once ({'; '.join(named)}{more}): rows are told apart by their position"
    return [f"{of}: {told}" if of else told]
