"""Cases in forked processes, each with a bound on its time: one that hangs or dies is a result like any other."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

from tools.fuzzing.known import parse_ours_once
from tools.fuzzing.trials import Kind, Outcome

MAX_CASES = 250
"""Cases after which a worker is replaced by a fresh one: libraries remember what they have loaded."""


SOUND = "sound"


class Ended(NamedTuple):
    """A case with its end and the seconds it took."""

    number: int
    outcome: Outcome
    wall_s: float


def run_cases(kind: Kind, *, seed: int, numbers: Sequence[int], folder: Path, timeout_s: float) -> Iterator[Ended]:
    """The outcome of every case, in order. What a case writes lies below `folder`, and is removed after it."""
    context = multiprocessing.get_context("fork")
    # In a process of its own: threads that libraries start there would be missing in a process forked later.
    making = context.Process(target=_prepare, args=(kind, folder / SOUND))
    making.start()
    making.join()
    if making.exitcode:
        raise RuntimeError(f"the sound inputs of {kind.name} cannot be made")
    left = list(numbers)
    while left:
        line, process = _start(kind, seed=seed, numbers=left[:MAX_CASES], folder=folder)
        try:
            for ended in _results(line, process, number_of=left, timeout_s=timeout_s):
                left.remove(ended.number)
                yield ended
                if ended.outcome.kind in ("hang", "died"):
                    break
        finally:
            process.kill()
            process.join()


def _prepare(kind: Kind, folder: Path) -> None:
    folder.mkdir(parents=True)
    kind.prepare(folder)


def _start(kind: Kind, **of: Any) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, kwargs={"kind": kind, "line": theirs, **of}, daemon=True)
    process.start()
    theirs.close()
    return ours, process


def _results(line: Connection, process: BaseProcess, *, number_of: Sequence[int], timeout_s: float) -> Iterator[Ended]:
    """What a worker sends, until it has no more cases, hangs or dies."""
    while True:
        if not line.poll(timeout_s):
            yield Ended(number_of[0], Outcome("hang", f"more than {timeout_s:g} s"), timeout_s)
            return
        try:
            ended = line.recv()
        except EOFError:
            process.join()
            yield Ended(number_of[0], Outcome("died", f"exit status {process.exitcode}"), 0.0)
            return
        if ended is None:
            return
        yield ended


def _work(*, kind: Kind, line: Connection, seed: int, numbers: Sequence[int], folder: Path) -> None:
    # Libraries write to the terminal past Python: it goes nowhere.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    parse_ours_once()
    for number in numbers:
        place = folder / f"case_{number}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        begun = time.perf_counter()
        outcome = kind.trial(folder / SOUND, random.Random(f"{seed}:{kind.name}:{number}"), place)
        line.send(Ended(number, outcome, time.perf_counter() - begun))
        os.chdir(folder)
        shutil.rmtree(place, ignore_errors=True)
    line.send(None)
