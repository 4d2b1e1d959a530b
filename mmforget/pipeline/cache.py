"""Where models that several runs share are kept: micro models and their target and retain models, by content."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """The folder $MMFORGET_CACHE, else the platform's cache folder for mmforget. Nothing in it is irreplaceable."""
    named = os.environ.get("MMFORGET_CACHE")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mmforget"
