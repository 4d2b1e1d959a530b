"""Reading official files as they are published: JSON that may be lines, images that may lie elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from mmforget.errors import BadData, UserError
from mmforget.pictures import ending_alike, parts_of
from mmforget.reading import MAX_TEXT_BYTES, require_regular

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def read_json(path: Path) -> Any:
    """The JSON document in a file. Raises UserError naming file, line and column."""
    text = read_text(path)
    try:
        return _parsed(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}") from error


def read_records(path: Path) -> list[Any]:
    """The records in a file: one JSON list, or JSON lines whatever the file is called (as FIUBench's `full.json`).

    Tries the whole file first, then line by line. Raises BadData naming every line that does not parse.
    """
    text = read_text(path)
    try:
        whole = _parsed(text)
    except json.JSONDecodeError:
        return _read_lines(path, text)
    return whole if isinstance(whole, list) else [whole]


def read_text(path: Path) -> str:
    """A file's text. Raises UserError where it is missing, no regular file, unreadable or not UTF-8."""
    require_regular(path, max_bytes=MAX_TEXT_BYTES)
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error


def first_file(folders: Iterable[Path], names: Sequence[str]) -> Path | None:
    """The first of `names` that exists in the first folder that has any."""
    return next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)


def folders_of(data: str) -> list[Path]:
    """Where official files may lie: in the folder that is named, or holds the file named, or in `dataset/` or `data/`
    below it, as in a clone of the authors' repository.
    """
    path = Path(data)
    folder = path.parent if path.is_file() else path
    return [folder, folder / "dataset", folder / "data"]


def find_image(reference: str, *, folders: Sequence[Path]) -> Path:
    """Where an image that official files refer to lies, or where it was expected (a path that does not exist).

    Tried in each folder: the path after `dataset/`, the path as written, and the file anywhere below whose place ends
    most like the one written, for which a folder is listed once a process.

    Raises UserError where several files below end alike, naming them.
    """
    parts = parts_of(reference)
    after = parts[parts.index("dataset") + 1 :] if "dataset" in parts else parts
    places = [folder.joinpath(*tail) for folder in folders for tail in (after, parts) if tail]
    for place in places:
        if place.is_file():
            return place
    found = [path for folder in folders for path in _images_below(folder).get(parts[-1] if parts else "", ())]
    return ending_alike(reference, found) or (places[0] if places else folders[0])


def is_hidden(path: Path, *, below: Path) -> bool:
    """Whether a file or any folder that it lies in, up to `below`, is one that file browsers and archives leave."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(below).parts)


@lru_cache(maxsize=16)
def _images_below(folder: Path) -> dict[str, list[Path]]:
    """All images below a folder by file name; where a folder is there under two names, each file once."""
    found: dict[str, dict[Path, Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(path, below=folder):
            found.setdefault(path.name, {}).setdefault(path.resolve(), path)
    return {name: list(paths.values()) for name, paths in found.items()}


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
    texts = found[0].get("idk") if found and isinstance(found[0], Mapping) else found
    is_list = isinstance(texts, list) and all(isinstance(text, str) and text.strip() for text in texts)
    if not is_list or not texts:
        raise UserError(
            f"{path}: refusals must be a list of texts, one at least, under 'idk' or on its own; without the file the "
            "benchmark's own refusals are taken"
        )
    return tuple(texts)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", text, 0) from None


def _read_lines(path: Path, text: str) -> list[Any]:
    records, faults = [], []
    # Not splitlines(): a text may hold U+2028, U+0085 or another of the line ends that JSON leaves as they are.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            records.append(_parsed(line))
        except json.JSONDecodeError as error:
            faults.append(f"line {number}, column {error.colno}: not valid JSON: {error.msg}")
    if faults:
        raise BadData(str(path), faults=faults)
    return records


def state_of(path: Path) -> tuple[int, int, int]:
    """Size, inode and time of the last change of a file: an edit shows, also one that keeps size and date."""
    state = path.stat()
    return state.st_size, state.st_ino, state.st_ctime_ns


def stamp(data: str, *patterns: str, at_most: int | None = None) -> tuple[tuple[str, int, int, int], ...]:
    """Names and states of the files at `--data`, so that edited files are read again; nothing without a folder.

    Args:
        patterns: of the files, below the folder that `data` is or lies in.
        at_most: files looked at, in the order of the patterns.
    """
    path = Path(data)
    if data in ("synthetic", "hub") or not path.exists():
        return ()
    folder = path.parent if path.is_file() else path
    found = (file for pattern in patterns for file in folder.glob(pattern) if not is_hidden(file, below=folder))
    files = sorted(islice(found, at_most))
    return tuple((str(file), *state_of(file)) for file in files)
