"""Jobs side by side: results in order, errors as they are, no process left, one thread each."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import threading
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

from mmforget.errors import RunFailed, UserError
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.workers import Workers, _serve, num_workers, threads_of, workers
from tests.processes import alone

MICRO = RunConfig(model="micro", tasks=("fiubench",), device="cpu", workers=2)


def job(number: int, *, ending: str = "", models: Any, progress: Any) -> tuple[int, int, int]:
    """Says how far it is; returns its number, its process and its threads, or ends as asked."""
    progress(number, 2, "job")
    if ending == "user":
        raise UserError(f"job {number} cannot")
    if ending == "failed":
        raise RunFailed(f"job {number} failed")
    if ending == "bug":
        raise KeyError(f"job {number}")
    if ending == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return number, os.getpid(), torch.get_num_threads()


def endless(path: Path, *, models: Any, progress: Any) -> None:
    """Writes down its process, tells of it, and goes on until it is ended."""
    path.write_text(str(os.getpid()))
    progress(0, 1, "endless")
    threading.Event().wait()


def test_results_come_in_the_order_of_the_jobs_and_progress_is_told() -> None:
    told: list[tuple[int, int, str]] = []
    with workers(MICRO, progress=lambda *said: told.append(said)) as pool:
        found = pool.run([partial(job, number) for number in range(5)])
        again = pool.run([partial(job, 7)])
    assert [number for number, _, _ in found] == [0, 1, 2, 3, 4]
    processes = {process for _, process, _ in (*found, *again)}
    assert len(processes) <= 2
    assert os.getpid() not in processes
    assert {threads for _, _, threads in found} == {1}
    assert sorted(told) == [*((number, 2, "job") for number in range(5)), (7, 2, "job")]
    assert all(has_ended(process) for process in processes)


def ignored_by_its_parent(*, models: Any, progress: Any) -> str:
    """The signals that the process ignores which this worker was forked from, as the system writes them."""
    lines = Path(f"/proc/{os.getppid()}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("SigIgn"))


def ignored_and_not() -> list[bool]:
    """Whether Ctrl-C is ignored by the process that workers are forked from, and by this one."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with workers(MICRO, progress=lambda *_: None) as pool:
        (mask,) = pool.run([ignored_by_its_parent])
    return [bool(int(mask, 16) >> (signal.SIGINT - 1) & 1), signal.getsignal(signal.SIGINT) == signal.SIG_IGN]


@pytest.mark.long
def test_ctrl_c_in_the_middle_of_imports_shows_no_traceback(tmp_path: Path) -> None:
    """It reaches every process of a terminal, and the one that imports for all workers has nothing to say."""
    ended = alone(ignored_and_not, home=tmp_path)
    assert ended.value == [True, False], ended.err


@pytest.mark.parametrize(
    ("ending", "kind", "text"),
    [
        ("user", UserError, "job 1 cannot"),
        ("failed", RunFailed, "job 1 failed"),
        ("bug", RuntimeError, "KeyError: 'job 1'"),
        ("killed", RunFailed, "exit status -9"),
    ],
)
def test_an_error_of_a_worker_is_the_error_of_the_run(ending: str, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text), workers(MICRO, progress=lambda *_: None) as pool:
        pool.run([partial(job, 0), partial(job, 1, ending=ending)])


def test_workers_end_with_the_run_whatever_they_do(tmp_path: Path) -> None:
    """As Ctrl-C does: an exception in the main process while a worker is in the middle of its job."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), workers(MICRO, progress=stop) as pool:
        pool.run([partial(endless, tmp_path / "process")])
    assert has_ended(int((tmp_path / "process").read_text()))


def main_process(folder: Path) -> None:
    """A run with two workers that never end."""

    def told(*_: Any) -> None:
        if all((folder / name).is_file() for name in ("a", "b")):
            os.kill(os.getpid(), signal.SIGKILL)

    with workers(MICRO, progress=told) as pool:
        pool.run([partial(endless, folder / "a"), partial(endless, folder / "b")])


@pytest.mark.long
def test_no_worker_outlives_a_run_that_is_killed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=main_process, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    for name in ("a", "b"):
        assert has_ended(int((tmp_path / name).read_text()))


def heard_by_nobody(line: Connection, said: Path) -> None:
    """A worker whose stderr is a file."""
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), 2)
    _serve(line)


@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "busy"])
def test_a_worker_whose_run_is_gone_ends_without_a_word(is_busy: bool, tmp_path: Path) -> None:
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=heard_by_nobody, args=(theirs, tmp_path / "said"))
    process.start()
    theirs.close()
    if is_busy:
        ours.send(partial(job, 0))
    ours.close()
    process.join()
    assert process.exitcode == 1
    assert (tmp_path / "said").read_text() == ""


def has_ended(process: int) -> bool:
    """Whether a process that is no child of this one ends within the minute, or has."""
    try:
        watched = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watched], [], [], 60.0)[0])
    finally:
        os.close(watched)


def test_one_worker_is_this_process() -> None:
    found = Workers(1, progress=lambda *_: None).run([partial(job, 0)])
    assert found[0][1] == os.getpid()


def test_only_micro_models_on_the_cpu_are_trained_side_by_side() -> None:
    assert num_workers(MICRO) == 2
    assert num_workers(RunConfig(model="hf", tasks=())) == 1
    with pytest.raises(UserError, match="--workers 2 is for micro models"):
        num_workers(RunConfig(model="hf", tasks=(), workers=2))


def test_micro_models_are_computed_with_one_thread_and_others_as_told() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threads_of(MICRO):
            assert torch.get_num_threads() == 1
        with threads_of(RunConfig(model="hf", tasks=())):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
