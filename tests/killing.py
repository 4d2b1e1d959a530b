"""Commands run in processes that end at a moment named beforehand, by the signal a test chooses.

A moment is one thing that happened in an undisturbed run: a step of progress, or a file about to be opened for writing,
renamed or deleted in the watched folders. Processes are forked from one that has imported everything, so that ten kills
do not cost ten imports. Each begins a session of its own, by which its workers are known.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import select
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

PRELOADED = [
    "mmforget.pipeline.run",
    "mmforget.leaderboard.publish",
    "lm_eval.evaluator",
    "lm_eval.tasks",
    "matplotlib.backends.backend_agg",
    "peft",
    "rouge_score.rouge_scorer",
    "accelerate",
    "tests.settled",
]
STEP = re.compile(r": \d+ of \d+$")
"""How a moment ends that is a step of progress. Workers tell of these, not of their files."""
# What differs in the file names of two equal runs: process ids, random endings, times.
VARYING = (
    (re.compile(r"/\.([^/]+)-[0-9a-f]{8}-\d+-[0-9a-f]{8}\.tmp(?=/|$)"), r"/.\1.tmp"),
    (re.compile(r"results_[\dT.-]+\.json"), "results.json"),
)


class Ended(NamedTuple):
    """How a process ended: its exit status, negative for the signal that killed it, and what it wrote to stderr.

    `session` has it and whatever it started.
    """

    status: int
    err: str
    session: int


@dataclass(frozen=True)
class Runner:
    """Runs `mmforget` with a cache and an output folder below `home`, and watches both."""

    home: Path

    @property
    def cache(self) -> Path:
        return self.home / "cache"

    @property
    def output(self) -> Path:
        return self.home / "out"

    def run(self, words: Sequence[str], *, moment: str | None = None, by: int = signal.SIGKILL) -> Ended:
        """One process, to its end or to `moment`, where it sends itself the signal."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        given = [*words, "--output_path", str(self.output)]
        process = context.Process(target=_child, args=(self, given, moment, by))
        process.start()
        process.join()
        assert process.exitcode is not None
        assert process.pid is not None
        return Ended(process.exitcode, (self.home / "stderr").read_text(), process.pid)

    def moments(self) -> list[str]:
        """What happened exactly once in the last process, in order."""
        lines = (self.home / "moments").read_text().splitlines()
        counted = Counter(lines)
        return [line for line in lines if counted[line] == 1]

    def steps(self) -> list[str]:
        """The steps of progress among the moments."""
        return [moment for moment in self.moments() if STEP.search(moment)]


def left_over(session: int, *, patience_s: float = 60.0) -> list[int]:
    """The processes of a session that do not end within a minute."""
    deadline = time.monotonic() + patience_s
    while members := _members(session):
        if time.monotonic() > deadline:
            break
        for process in members:
            _wait(process, until=deadline)
    return members


def _members(session: int) -> list[int]:
    """The processes of a session that run; one that has ended may stay listed until somebody asks how."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, _, _, of, *_ = status.read_text().rpartition(")")[2].split()
            if int(of) == session and state not in "ZX":
                found.append(int(status.parent.name))
    return sorted(found)


def _wait(process: int, *, until: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        watched = os.pidfd_open(process)
        select.select([watched], [], [], max(0.0, until - time.monotonic()))
        os.close(watched)


def _child(runner: Runner, words: list[str], moment: str | None, by: int) -> None:
    from tqdm import tqdm

    os.setsid()
    # Its own lock is a semaphore that a killed process leaves behind.
    tqdm.set_lock(threading.RLock())
    os.environ["MMFORGET_CACHE"] = str(runner.cache)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with (runner.home / "stderr").open("w") as err, (runner.home / "moments").open("w", buffering=1) as seen:

        def note(name: str) -> None:
            seen.write(name + "\n")
            if name == moment:
                strike(by)

        with contextlib.redirect_stderr(err), contextlib.redirect_stdout(err):
            status = watched(words, home=runner.home, note=note)
    os._exit(status)


def strike(by: int) -> None:
    """A signal as it comes: from a terminal (Ctrl-C) to all processes of a run, else to its main process."""
    if by == signal.SIGINT:
        os.killpg(0, by)
    else:
        os.kill(os.getpid(), by)


def watched(words: Sequence[str], *, home: Path, note: Callable[[str], None]) -> int:
    from mmforget.cli import main, run

    @contextlib.contextmanager
    def bars(*, quiet: bool = False) -> Iterator[Callable[[int, int, str], None]]:
        yield lambda done, total, label: note(f"{label}: {done} of {total}")

    run.progress_bars = bars
    sys.addaudithook(_file_hook(home, note=note))
    return main.main(words)


def _file_hook(home: Path, *, note: Callable[[str], None]) -> Callable[[str, tuple[Any, ...]], None]:
    """Python tells an audit hook of every change of a file just before it is made."""
    watched = tuple(f"{home / name}{os.sep}" for name in ("cache", "out"))

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
        if text.startswith(watched) and ".probe-" not in text:
            note(f"{event} {_stable(text.removeprefix(str(home)))}")

    return hook


def _stable(path: str) -> str:
    for pattern, name in VARYING:
        path = pattern.sub(name, path)
    return path


def train_tower(folder: Path) -> Path:
    """Has the vision tower of all micro models in a folder of theirs, trained where it is not there yet."""
    from mmforget.model import micro

    micro._tower(folder, seed=0, progress=None)
    return folder


def with_tower(made: Runner, *, source: Path) -> Runner:
    """A runner whose cache holds the tower from a folder that has it: it takes long, and is not what this is about."""
    for tower in source.glob("micro-tower-*"):
        shutil.copytree(tower, made.cache / "micro" / tower.name)
    return made


def undisturbed(home: Path, words: Sequence[str], *, tower: Path) -> Runner:
    """A run in one process, which nothing disturbs. Raises RuntimeError with what it said where it fails."""
    made = with_tower(Runner(home), source=tower)
    ended = made.run([*words, "--workers", "1"])
    if ended.status != 0:
        raise RuntimeError(ended.err)
    return made
