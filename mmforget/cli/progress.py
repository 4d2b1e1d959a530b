"""Progress on stderr for long work: bars on a terminal, lines in a log, nothing where asked to be quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mmforget.cli.printing import tell

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from mmforget.types import Progress

QUICK_S, EVERY_S = 5.0, 30.0


@contextmanager
def progress_bars(*, quiet: bool = False) -> Iterator[Progress]:
    """Yield `report(done, total, label)`: one bar a label on a terminal, now and then a line elsewhere.

    Hugging Face's own bars (one for every file that is loaded or written) are off: ours say what is being done.
    """
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    if quiet:
        yield lambda done, total, label: None
    elif sys.stderr.isatty():
        with _terminal_bars() as report:
            yield report
    else:
        yield _lines()


@contextmanager
def _terminal_bars() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:<34}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        known: dict[str, TaskID] = {}

        def report(done: int, total: int, label: str) -> None:
            if label not in known:
                known[label] = bars.add_task(label, total=total)
            bars.update(known[label], completed=done, total=total)
            if done >= total:
                _drop_if_quick(bars, known.pop(label))

        yield report


def _drop_if_quick(bars: Bars, bar: TaskID) -> None:
    """A run has scores of quick steps; only the bars of long ones stay on the screen."""
    elapsed = next(task.elapsed for task in bars.tasks if task.id == bar)
    if (elapsed or 0.0) < QUICK_S:
        bars.remove_task(bar)


def _lines() -> Progress:
    """For logs: what takes long says how far it is every half minute, what is quick says nothing."""
    begun: dict[str, float] = {}
    told: dict[str, float] = {}

    def report(done: int, total: int, label: str) -> None:
        now = time.monotonic()
        start = begun.setdefault(label, now)
        ended = done >= total and now - start >= QUICK_S
        if ended or now - max(start, told.get(label, 0.0)) >= EVERY_S:
            told[label] = now
            tell(f"{label}: {done} of {total} in {now - start:.0f} s")

    return report
