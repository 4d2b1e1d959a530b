"""Commands run in processes that end at a moment named beforehand, by the signal a test chooses.

A moment is one thing that happened in an undisturbed run: a step of progress, or a file about to be opened for writing,
renamed or deleted in the watched folders. Processes are forked from one that has imported everything, so that ten kills
do not cost ten imports.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

PRELOADED = ["mmforget.pipeline.run", "mmforget.leaderboard.publish", "lm_eval.evaluator", "lm_eval.tasks", "peft"]
CHANGES_OF_NAME = (
    (re.compile(r"^\.(.+)-\d+-[0-9a-f]{8}\.tmp$"), r".\1.tmp"),
    (re.compile(r"^\.(micro-.+)-[0-9a-f]{8}$"), r".\1"),
    (re.compile(r"results_[\dT.-]+\.json"), "results.json"),
)


class Ended(NamedTuple):
    """How a process ended: its exit status (negative for a signal) and what it wrote to stderr."""

    status: int
    err: str


@dataclass(frozen=True)
class Runner:
    """Runs `mmforget` with its own cache of models, watching that cache and the output folder.

    Attributes:
        cache: MMFORGET_CACHE of the process.
        output: the output folder that the words name.
        notes: an empty folder for what the process says.
    """

    cache: Path
    output: Path
    notes: Path

    def run(self, words: Sequence[str], *, moment: str | None = None, by: int = signal.SIGKILL) -> Ended:
        """One process, to its end or to `moment`."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        process = context.Process(target=_child, args=(self, list(words), moment, by))
        process.start()
        process.join()
        assert process.exitcode is not None
        return Ended(process.exitcode, (self.notes / "stderr").read_text())

    def moments(self) -> list[str]:
        """What happened exactly once in the last process, in order."""
        lines = (self.notes / "moments").read_text().splitlines()
        counted = Counter(lines)
        return [line for line in lines if counted[line] == 1]


def _child(runner: Runner, words: list[str], moment: str | None, by: int) -> None:
    os.environ["MMFORGET_CACHE"] = str(runner.cache)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from mmforget.cli import main, run

    with (runner.notes / "stderr").open("w") as err, (runner.notes / "moments").open("w", buffering=1) as seen:

        def note(name: str) -> None:
            seen.write(name + "\n")
            if name == moment:
                os.kill(os.getpid(), by)

        run.progress_bars = _progress(note)  # type: ignore[attr-defined]
        sys.addaudithook(_watch(runner, note=note))
        with contextlib.redirect_stderr(err), contextlib.redirect_stdout(err):
            status = main.main(words)
            err.flush()
        seen.flush()
    os._exit(status)


def _progress(note: Callable[[str], None]) -> Any:
    @contextlib.contextmanager
    def bars(*, quiet: bool = False) -> Iterator[Callable[[int, int, str], None]]:
        yield lambda done, total, label: note(f"{label}: {done} of {total}")

    return bars


def _watch(runner: Runner, *, note: Callable[[str], None]) -> Callable[[str, tuple[Any, ...]], None]:
    roots = (f"{runner.cache}{os.sep}", f"{runner.output}{os.sep}")

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = args
            if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event == "os.rename":
            path = args[1]
        elif event in ("os.remove", "os.mkdir", "shutil.rmtree"):
            path = args[0]
        else:
            return
        text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else ""
        if text.startswith(roots) and ".probe-" not in text:
            note(f"{event} {_stable(text)}")

    return hook


def _stable(path: str) -> str:
    """A path without the parts that differ from run to run."""
    parts = Path(path).parts
    for pattern, name in CHANGES_OF_NAME:
        parts = tuple(pattern.sub(name, part) for part in parts)
    return str(Path(*parts))
