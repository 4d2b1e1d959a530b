"""Several processes that run one function, as a launcher would start them, and what each of them said and returned.

They are forked from one that has imported everything, so that many short runs do not cost as many imports.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tests.killing import PRELOADED

TIMEOUT_S = 180.0


class Ended(NamedTuple):
    """How a process ended: exit status (negative for a signal), stdout, stderr, and what its function returned."""

    status: int
    out: str
    err: str
    value: Any


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """As in the processes of `launch`: the last bits of a sum depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def launch(
    function: Callable[..., Any],
    *args: Any,
    home: Path,
    world: int = 2,
    env: dict[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> list[Ended]:
    """`function(*args)` in each of `world` processes. Processes that do not end in time are killed, and fail the test.

    Args:
        function: importable by its name; what it returns goes through JSON.
        home: folder for what the processes say.
    """
    # The place where processes meet belongs to the launcher, as torchrun has it: it outlives each of them.
    meeting = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    common = {
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(meeting.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        **(env or {}),
    }
    envs = [{**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(world)]
    return _run(function, args, home=home, envs=envs, timeout_s=timeout_s)


def alone(function: Callable[..., Any], *args: Any, home: Path, timeout_s: float = TIMEOUT_S) -> Ended:
    """`function(*args)` in one process that no launcher started."""
    (ended,) = _run(function, args, home=home, envs=[{}], timeout_s=timeout_s)
    return ended


def _run(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    *,
    home: Path,
    envs: Sequence[dict[str, str]],
    timeout_s: float,
) -> list[Ended]:
    """A process for each environment, side by side."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    place = home / f"said-{len(list(home.glob('said-*')))}"
    place.mkdir(parents=True)
    processes = [
        context.Process(target=_child, args=(function, args, place, rank, env), name=f"process {rank}")
        for rank, env in enumerate(envs)
    ]
    for process in processes:
        process.start()
    deadline = time.monotonic() + timeout_s
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
    hanging = [process.name for process in processes if process.is_alive()]
    for process in processes:
        process.kill()
        process.join()
    said = [_ended(place, rank=rank, status=process.exitcode) for rank, process in enumerate(processes)]
    assert not hanging, f"{hanging} did not end: {[one.err for one in said]}"
    return said


def command(words: Sequence[str | Path]) -> int:
    """`mmforget WORDS` in a process of `launch`; the process ends with its exit status."""
    from mmforget.cli.main import main

    raise SystemExit(main([str(word) for word in words]))


def _child(function: Callable[..., Any], args: tuple[Any, ...], place: Path, rank: int, env: dict[str, str]) -> None:
    torch.set_num_threads(1)
    os.environ.update(env)
    status = 1
    with contextlib.ExitStack() as stack:
        for name, redirect in (("out", contextlib.redirect_stdout), ("err", contextlib.redirect_stderr)):
            stack.enter_context(redirect(stack.enter_context((place / f"{name}-{rank}").open("w"))))
        try:
            value = function(*args)
            (place / f"value-{rank}").write_text(json.dumps(value))
            status = 0
        except SystemExit as stop:
            status = int(stop.code or 0)
        except BaseException:
            traceback.print_exc()
    os._exit(status)


def _ended(place: Path, *, rank: int, status: int | None) -> Ended:
    out, err = ((place / f"{name}-{rank}").read_text() for name in ("out", "err"))
    value = place / f"value-{rank}"
    found = json.loads(value.read_text()) if value.is_file() else None
    return Ended(-1 if status is None else status, out, err, found)
