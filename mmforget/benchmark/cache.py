"""Where mmforget keeps what it can make or fetch again: unpacked data, micro models, hashes of large files."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder $MMFORGET_CACHE, else `mmforget` in the user's cache folder. Nothing in it is irreplaceable."""
    named = os.environ.get("MMFORGET_CACHE")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mmforget"
