"""Where something is written before it has its name, and what is left of it when a process is killed meanwhile."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import socket
from pathlib import Path

_MACHINE = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
_LEFT = re.compile(rf"\..+-{_MACHINE}-(\d+)-[0-9a-f]{{8}}\.tmp", re.DOTALL)


def unfinished(path: Path) -> Path:
    """A hidden place beside `path` for a file or folder that will be renamed to it; it is this process's own.

    What processes of this machine that are gone have left in that folder is removed: a killed one cannot.
    """
    remove_abandoned(path.parent)
    return path.with_name(f".{path.name}-{_MACHINE}-{os.getpid()}-{secrets.token_hex(4)}.tmp")


def remove_abandoned(folder: Path) -> None:
    """Removes unfinished files and folders whose process no longer runs."""
    with contextlib.suppress(OSError):
        for place in list(folder.iterdir()):
            found = _LEFT.fullmatch(place.name)
            if found is not None and not _runs(int(found.group(1))):
                _remove(place)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        place.unlink()
