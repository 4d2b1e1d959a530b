"""Commands as users type them, run in the test's own process."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

METHODS = ("ga", "grad_diff", "kl", "po", "npo")
SEEDS = (0, 1, 2)
TESTED_SEEDS = SEEDS[:2]
"""Two thirds of the demo show as much, and leave a third of its time to other tests."""


class Said(NamedTuple):
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


def command(*words: str | Path) -> Said:
    """Run `mmforget WORDS` in this process."""
    from mmforget.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(word) for word in words])
        except SystemExit as stop:
            status = int(stop.code or 0)
    return Said(status, out.getvalue(), err.getvalue())


def demo_command(folder: Path, *, seeds: Sequence[int] = SEEDS) -> list[str]:
    """The words of `make demo`."""
    words = ["run", "--model", "micro", "--tasks", "fiubench", "--methods", ",".join(METHODS)]
    return [*words, "--seeds", ",".join(map(str, seeds)), "--output_path", str(folder)]
