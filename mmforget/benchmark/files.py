"""Reading official files as they are published: JSON that may be lines, images that may lie elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from mmforget.errors import BadData, UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def read_json(path: Path) -> Any:
    """The JSON document in a file. Raises UserError naming file, line and column."""
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}") from error


def read_records(path: Path) -> list[Any]:
    """The records in a file: one JSON list, or JSON lines whatever the file is called (as FIUBench's `full.json`).

    Tries the whole file first, then line by line. Raises BadData naming every line that does not parse.
    """
    text = read_text(path)
    try:
        whole = json.loads(text)
    except json.JSONDecodeError:
        return _read_lines(path, text)
    return whole if isinstance(whole, list) else [whole]


def read_text(path: Path) -> str:
    """A file's text. Raises UserError where it is missing, unreadable or not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error


def first_file(folders: Iterable[Path], names: Sequence[str]) -> Path | None:
    """The first of `names` that exists in the first folder that has any."""
    return next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)


def find_image(reference: str, *, folders: Sequence[Path]) -> Path:
    """Where an image that official files refer to lies, or where it was expected (a path that does not exist).

    Tried in each folder: the path after `dataset/`, the path as written, and the bare file name anywhere below, for
    which a folder is listed once a process.
    """
    written = PurePosixPath(reference.replace("\\", "/"))
    # Without `..`: files of strangers point to nothing outside the folder.
    parts = [part for part in written.parts if part not in (".", "..", "/")]
    after = parts[parts.index("dataset") + 1 :] if "dataset" in parts else parts
    places = [folder.joinpath(*tail) for folder in folders for tail in (after, parts) if tail]
    for place in places:
        if place.is_file():
            return place
    found = [_images_below(folder).get(written.name) for folder in folders]
    return next((path for path in found if path is not None), places[0] if places else folders[0])


@lru_cache(maxsize=16)
def _images_below(folder: Path) -> dict[str, Path]:
    files = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES)
    return {path.name: path for path in files}


def read_id_lists(path: Path, *, names: Sequence[str], faults: list[str]) -> dict[str, tuple[str, ...]]:
    """The named id lists of a split file, also where nested under `train`; what is missing goes to `faults`."""
    document = read_json(path)
    lists = document.get("train", document) if isinstance(document, Mapping) else None
    if not isinstance(lists, Mapping):
        raise UserError(f"{path}: must hold an object of id lists ({', '.join(names)})")
    found: dict[str, tuple[str, ...]] = {}
    for name in names:
        ids = lists.get(name)
        if not isinstance(ids, list) or not ids:
            faults.append(f"{path.name}: list '{name}' is missing or empty")
            ids = []
        found[name] = tuple(str(item) for item in ids)
    return found


def read_refusals(path: Path) -> tuple[str, ...]:
    """The texts under `idk` in a prompt file, or all of a file that is just a list. Raises UserError otherwise."""
    found = read_records(path)
    texts = found[0].get("idk", []) if found and isinstance(found[0], Mapping) else found
    if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip() for text in texts):
        raise UserError(f"{path}: refusals must be a list of texts, under 'idk' or on its own")
    return tuple(texts)


def _read_lines(path: Path, text: str) -> list[Any]:
    records, faults = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            faults.append(f"line {number}, column {error.colno}: not valid JSON: {error.msg}")
    if faults:
        raise BadData(str(path), faults=faults)
    return records


def stamp(data: str, *patterns: str, at_most: int | None = None) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and times of the files at `--data`, so that edited files are read again; nothing without a folder.

    Args:
        patterns: of the files, below the folder that `data` is or lies in.
        at_most: files looked at, in the order of the patterns.
    """
    path = Path(data)
    if data in ("synthetic", "hub") or not path.exists():
        return ()
    folder = path.parent if path.is_file() else path
    files = sorted(islice((file for pattern in patterns for file in folder.glob(pattern)), at_most))
    return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)
