"""Progress bars on stderr for long work, silent where stderr is not a terminal's or was asked to be quiet."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[int, int, str], None]


@contextmanager
def progress_bars(*, quiet: bool = False) -> Iterator[Report]:
    """Yield `report(done, total, label)`: one bar a label on a terminal, one line a finished label elsewhere.

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
        yield _line_a_label()


@contextmanager
def _terminal_bars() -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<34}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        known: dict[str, object] = {}

        def report(done: int, total: int, label: str) -> None:
            if label not in known:
                known[label] = bars.add_task(label, total=total)
            bars.update(known[label], completed=done, total=total)  # type: ignore[arg-type]

        yield report


def _line_a_label() -> Report:
    finished: set[str] = set()

    def report(done: int, total: int, label: str) -> None:
        if done >= total and label not in finished:
            finished.add(label)
            print(f"{label}: {total} done", file=sys.stderr, flush=True)

    return report
