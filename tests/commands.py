"""Commands as users type them, run in the test's own process."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

METHODS = ("ga", "grad_diff", "kl", "po", "npo")
SEEDS = (0, 1, 2)
TESTED_METHODS, TESTED_SEEDS = ("ga", "grad_diff"), SEEDS[:2]
"""What tests run of the demo: a method that collapses and one that forgets, with some of its seeds."""
FEWER_PEOPLE = ("--metadata", "num_subjects=12", "--stage_one_args", "max_steps=160")


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


def demo_command(folder: Path, *, methods: Sequence[str] = METHODS, seeds: Sequence[int] = SEEDS) -> list[str]:
    """The words of `make demo`, or of a part of it."""
    words = ["run", "--model", "micro", "--tasks", "fiubench", "--methods", ",".join(methods)]
    return [*words, "--seeds", ",".join(map(str, seeds)), "--attacks", "quick", "--output_path", str(folder)]


def part_of_demo(folder: Path) -> list[str]:
    """The words of a part of it: in one process, since tests keep the other cores busy."""
    return [*demo_command(folder, methods=TESTED_METHODS, seeds=TESTED_SEEDS), "--workers", "1"]


def small_demo(folder: Path) -> list[str]:
    """The words of that part with 12 of the 24 people, who are memorised in fewer steps."""
    return [*part_of_demo(folder), *FEWER_PEOPLE]
