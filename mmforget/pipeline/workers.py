"""Independent trainings of micro models side by side, in worker processes with one thread each.

A micro model keeps one core busy, and two threads on it are hardly faster than one. Its numbers depend on the number
of threads in their last bits, and training makes more of that, so micro models are always computed with one thread:
with any number of workers, or none, the same numbers come out.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, Literal, NamedTuple, TypeVar

import torch

from mmforget import parallel
from mmforget.errors import RunFailed, UserError
from mmforget.libraries import leave_libraries_to_stay, prepare_libraries
from mmforget.lm.inside import MODULES as LM_EVAL_MODULES
from mmforget.model.spec import ModelSpec
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.models import Models
from mmforget.types import Progress

T = TypeVar("T")
Job = Callable[..., T]
"""Called with `progress=` and `models=`, those of the process that does it.

It and its result are pickled, so it is a `partial` of a module's function.
"""

MAX_WORKERS = 8
"""Unless told otherwise: each holds a few hundred megabytes, mostly libraries."""
PRELOADED = ["mmforget.pipeline.run", *LM_EVAL_MODULES, "peft", "rouge_score.rouge_scorer"]
"""Imported once, in the process that workers are forked from."""


class Outcome(NamedTuple):
    """What a worker says of its job: how far it is, or how it ended."""

    kind: Literal["progress", "done", "wrong input", "failed", "broken"]
    value: Any


@dataclass(frozen=True)
class Worker:
    """A process and the line to it."""

    process: BaseProcess
    line: Connection


class Workers:
    """Runs jobs side by side in `num` processes, which start when first needed, or one after another in this one.

    Attributes:
        num: how many; 1 is this process itself.
        progress: told of how far each job is.
        models: of this process.
    """

    def __init__(self, num: int, *, progress: Progress) -> None:
        self.num = num
        self.progress = progress
        self.models = Models()
        self._workers: list[Worker] = []

    def run(self, jobs: Sequence[Job[T]]) -> list[T]:
        """The results of all jobs, in their order; jobs begin in that order, too.

        Raises what the first job to fail raised, UserError or RunFailed, and RunFailed where a worker is gone.
        """
        if self.num == 1:
            return [job(progress=self.progress, models=self.models) for job in jobs]
        self._start(min(self.num, len(jobs)))
        waiting = list(enumerate(jobs))[::-1]
        found: dict[int, T] = {}
        busy: dict[Connection, tuple[Worker, int]] = {}
        idle = list(self._workers)
        while len(found) < len(jobs):
            while idle and waiting:
                worker, (number, job) = idle.pop(), waiting.pop()
                worker.line.send(job)
                busy[worker.line] = (worker, number)
            for line in wait(list(busy)):
                worker, number = busy[line]  # type: ignore[index]
                outcome = _heard(worker)
                if outcome.kind == "progress":
                    self.progress(*outcome.value)
                    continue
                del busy[worker.line]
                idle.append(worker)
                found[number] = _value(outcome)
        return [found[number] for number in range(len(jobs))]

    def end(self) -> None:
        """Ends all processes at once. They lose nothing: files are written whole or not at all."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.line.close()
        self._workers.clear()

    def _start(self, num: int) -> None:
        context = _context()
        while len(self._workers) < num:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)  # type: ignore[attr-defined]
            process.start()
            theirs.close()
            self._workers.append(Worker(process, ours))


@contextmanager
def workers(config: RunConfig, *, progress: Progress) -> Iterator[Workers]:
    """The workers of a run, ended with it however it ends. Raises UserError where a run cannot have as many."""
    with threads_of(config):
        made = Workers(num_workers(config), progress=progress)
        if made.num > 1:
            _prepare()
        try:
            yield made
        finally:
            made.end()


@contextmanager
def threads_of(config: RunConfig) -> Iterator[None]:
    """Inside, micro models are computed with one thread."""
    before = torch.get_num_threads()
    if config.model == "micro":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def num_workers(config: RunConfig) -> int:
    """How many processes train at once: one a core for micro models on the CPU, else this one alone.

    Raises UserError where several were asked for and the model may fill the machine by itself.
    """
    if config.model != "micro":
        if (config.workers or 1) > 1:
            raise UserError(
                f"--workers {config.workers} is for micro models; others are trained one at a time, "
                "on several devices with accelerate launch"
            )
        return 1
    device = ModelSpec.parse("pretrained=micro", device=config.device).target_device()
    if parallel.world_size() > 1 or device.type != "cpu":
        return 1
    return config.workers or min(MAX_WORKERS, _num_cores())


def _num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _prepare() -> None:
    """Has the process that workers are forked from import everything, while this one does what comes first."""
    if _context().get_start_method() == "forkserver":
        from multiprocessing.forkserver import ensure_running

        with _deaf_to_ctrl_c():
            ensure_running()


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes that are started inside ignore Ctrl-C, which would show where in their imports it hit them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _context() -> BaseContext:
    """Workers are forked from a process that has imported everything and done nothing, where there is such a thing."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _heard(worker: Worker) -> Outcome:
    try:
        outcome: Outcome = worker.line.recv()
    except (EOFError, ConnectionError) as error:
        worker.process.join()
        raise RunFailed(
            f"a worker process has ended (exit status {worker.process.exitcode}), perhaps for want of memory; the same "
            "command continues where it stopped, with --workers 1 in one process"
        ) from error
    return outcome


def _value(outcome: Outcome) -> Any:
    if outcome.kind == "wrong input":
        raise UserError(outcome.value)
    if outcome.kind == "failed":
        raise RunFailed(outcome.value)
    if outcome.kind == "broken":
        raise RuntimeError(f"in a worker process:\n{outcome.value}")
    return outcome.value


def _serve(line: Connection) -> None:
    """The life of a worker: jobs until it is ended, by `Workers.end` or with the process that started it."""
    # Ctrl-C reaches every process of a terminal; who started this one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepare_libraries()
    from tqdm import tqdm  # type: ignore[import-untyped]
    from transformers.utils.logging import disable_progress_bar

    # Its own lock is a semaphore of the system, which a process that is killed leaves behind.
    tqdm.set_lock(threading.RLock())
    disable_progress_bar()
    torch.set_num_threads(1)
    leave_libraries_to_stay()
    models = Models()
    try:
        while True:
            job = line.recv()
            line.send(_outcome(job, models=models, progress=partial(_tell, line)))
    except (EOFError, ConnectionError):
        # Who started this one is gone: there is nobody to tell, and nothing went wrong here.
        os._exit(1)


def _tell(line: Connection, done: int, total: int, label: str) -> None:
    line.send(Outcome("progress", (done, total, label)))


def _outcome(job: Job[Any], *, models: Models, progress: Progress) -> Outcome:
    # Not the errors themselves: many kinds cannot be made again from their message alone.
    try:
        return Outcome("done", job(progress=progress, models=models))
    except UserError as error:
        return Outcome("wrong input", str(error))
    except RunFailed as error:
        return Outcome("failed", str(error))
    except Exception:
        return Outcome("broken", traceback.format_exc())


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
