"""Checkpoints that count only when whole: a marker with every file's size is written last."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from mmforget.errors import UserError
from mmforget.results.files import read_json, write_json

MARKER = "complete.json"
NAME = re.compile(r"checkpoint-(\d+)")


def mark_complete(folder: Path) -> None:
    """Flushes a checkpoint's files to disk, then writes its marker; older checkpoints beside it are removed."""
    sizes = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        sizes[path.name] = path.stat().st_size
    write_json(folder / MARKER, sizes)
    for step, other in _numbered(folder.parent):
        if step < step_of(folder):
            _remove(other)


def newest_complete(folder: Path) -> Path | None:
    """The newest whole checkpoint in `folder`, or None. Removes those that a kill left unfinished."""
    newest = None
    for _, checkpoint in sorted(_numbered(folder)):
        if _is_complete(checkpoint):
            newest = checkpoint
        else:
            _remove(checkpoint)
    return newest


def step_of(checkpoint: Path) -> int:
    """The number of updates done when the checkpoint was written."""
    match = NAME.fullmatch(checkpoint.name)
    if match is None:
        raise ValueError(f"{checkpoint} is not named as a checkpoint")
    return int(match[1])


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    return [(step_of(path), path) for path in folder.iterdir() if path.is_dir() and NAME.fullmatch(path.name)]


def _is_complete(checkpoint: Path) -> bool:
    try:
        sizes = read_json(checkpoint / MARKER)
    except UserError:
        return False
    return all((checkpoint / name).is_file() and (checkpoint / name).stat().st_size == n for name, n in sizes.items())


def _remove(checkpoint: Path) -> None:
    # The marker goes first: a kill in between must not leave a marked checkpoint without its files.
    (checkpoint / MARKER).unlink(missing_ok=True)
    shutil.rmtree(checkpoint)
