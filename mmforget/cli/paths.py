"""`~` in arguments: a shell leaves it where it stands behind `=` or in quotes."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any


def with_home(args: argparse.Namespace) -> argparse.Namespace:
    """The arguments, with the home folder for a `~` that one of them begins with; nothing but a path does."""
    return argparse.Namespace(**{name: _expanded(value) for name, value in vars(args).items()})


def _expanded(value: Any) -> Any:
    if isinstance(value, list):
        return [_expanded(one) for one in value]
    if isinstance(value, str | Path):
        return type(value)(os.path.expanduser(value))
    return value
