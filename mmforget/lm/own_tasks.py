"""The names of lm_eval's own tasks, kept on disk: reading its 14,000 task files takes a quarter of a minute.

What is kept says of each name which file defines it, and holds as long as no file below the folder has changed.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmforget.benchmark.cache import cache_folder
from mmforget.errors import UserError
from mmforget.results.files import in_turn, read_json, write_json

logger = logging.getLogger(__name__)


class KnownTask(NamedTuple):
    """One name.

    Attributes:
        kind: as lm_eval calls it: a task, one that is a class, a group, or a tag.
        file: where it is defined, relative to the folder; None for a tag, which files only mention.
        tags: what lm_eval notes beside it; of a tag, the tasks that carry it.
    """

    kind: str
    file: str | None
    tags: tuple[str, ...]


def known_tasks(folder: Path, *, read: Callable[[Path], Mapping[str, KnownTask]]) -> dict[str, KnownTask]:
    """What `read(folder)` gives, from the disk where it is known. That the cache cannot be written is no fault.

    Of several processes one reads, and the others wait for what it keeps.
    """
    path = cache_folder() / "lm_eval_tasks" / f"{_stamp(folder)}.json"
    found = _kept(path)
    if found is not None:
        return found
    with in_turn(path.parent):
        found = _kept(path)
        return _read_and_keep(folder, path, read=read) if found is None else found


def _read_and_keep(
    folder: Path, path: Path, *, read: Callable[[Path], Mapping[str, KnownTask]]
) -> dict[str, KnownTask]:
    found = dict(read(folder))
    try:
        write_json(path, {name: list(task) for name, task in found.items()})
    except UserError as error:
        logger.info("the names of lm_eval's tasks are read anew each time: %s", error)
    return found


def _stamp(folder: Path) -> str:
    """Changes with any file's name, size or time below the folder; compiled code aside."""
    digest = hashlib.sha256(str(folder).encode())
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(files):
            stat = os.stat(os.path.join(place, name))
            digest.update(f"{place}/{name} {stat.st_size} {stat.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _kept(path: Path) -> dict[str, KnownTask] | None:
    """What was kept; None where nothing was, or where it is no such file."""
    if not path.is_file():
        return None
    try:
        found = read_json(path)
        return {str(name): _task(*parts) for name, parts in found.items()}
    except (UserError, AttributeError, TypeError, ValueError) as error:
        logger.info("%s is made anew: %s", path, error)
        return None


def _task(kind: Any, file: Any, tags: Any) -> KnownTask:
    """Raises ValueError for a file that lies outside the folder."""
    if file is not None and (Path(file).is_absolute() or ".." in Path(file).parts):
        raise ValueError(f"{file} lies outside the folder of tasks")
    return KnownTask(str(kind), file, tuple(map(str, tags)))
