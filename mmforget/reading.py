"""Files of strangers, read with bounds: regular files of a known size, and no search of a whole disk."""

from __future__ import annotations

import fnmatch
import os
import stat
from pathlib import Path
from typing import Any

from mmforget.errors import UserError, one_line

MAX_TEXT_BYTES = 2**30
"""Longest file that is read as text."""
MAX_FOLDERS = 20_000
"""Folders that are searched for files of one kind."""
NESTED = (dict, list)
MAX_DEPTH = 64
"""Deepest nesting of lists and mappings that a JSON or YAML file may have."""


def read_text(path: Path, *, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """A file's text. Raises UserError where it is missing, no regular file, too large, unreadable or not UTF-8."""
    require_regular(path, max_bytes=max_bytes)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text at byte {error.start}; the file is damaged, run again") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({why(error)}); check the path") from error


def require_regular(path: Path, *, max_bytes: int) -> None:
    """Raises UserError unless `path` is a regular file (or a link to one) of at most `max_bytes`.

    A pipe or a device would keep its reader waiting for ever.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        what = why(error) if isinstance(error, OSError) else one_line(error)
        raise UserError(f"{path}: cannot be read ({what}); check the path") from error
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"{path}: not a regular file; give the file itself")
    if found.st_size > max_bytes:
        raise UserError(f"{path}: {found.st_size:,} bytes, at most {max_bytes:,} are read; it is no file of mmforget")


def is_deep(value: Any) -> bool:
    """Whether lists and mappings of a JSON value are nested deeper than `MAX_DEPTH`."""
    level = [value] if type(value) in NESTED else []
    for _ in range(MAX_DEPTH):
        if not level:
            return False
        inner = [item.values() if type(item) is dict else item for item in level]
        level = [child for children in inner for child in children if type(child) in NESTED]
    return bool(level)


def files_below(folder: Path, pattern: str) -> list[Path]:
    """The paths below a folder whose names fit `pattern`, sorted; links to folders are not followed.

    Raises UserError where that is more than `MAX_FOLDERS` folders: somebody has named a whole disk.
    """
    found: list[Path] = []
    for number, (place, _, names) in enumerate(os.walk(folder)):
        if number == MAX_FOLDERS:
            raise UserError(f"{folder}: holds more than {MAX_FOLDERS:,} folders; give the folder that is meant")
        found += [Path(place, name) for name in fnmatch.filter(names, pattern)]
    return sorted(found)


def why(error: OSError) -> str:
    """What the system says of an error, in a few words."""
    return error.strerror or type(error).__name__
