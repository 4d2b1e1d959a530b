"""A suite of attacks on a micro model in one call, and each of its attacks by itself with the model loaded each time.

Both are the command `mmforget attack` with `--json`. Inside one process nothing is imported anew, so that the whole
difference is what the attacks of a call share; as commands of their own each pays for its imports, too, as it does for
whoever types them.
"""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from typing import Any

from benchmarks.context import Context
from benchmarks.measuring import Seconds, Timing, clock, say

SUITE, TASKS = "robust", "fiubench"
QUICK_SUITE = ("cloze", "role_play", "image_blur")
QUICK = ("--limit", "2", "--stage_one_args", "max_steps=2", "--metadata", "num_subjects=8")
Results = Mapping[str | None, Mapping[str, Any]]
"""What the attacks of a call came to, by the names that records have; None is the plain question."""
Call = Callable[[Sequence[str]], Results]


def run(context: Context) -> dict[str, Any]:
    """Seconds of the suite and of its attacks, inside this process and as commands of their own.

    The model is looked for in $MMFORGET_CACHE and left there; without it one is made in `context.folder`.
    """
    from mmforget.attacks.naming import SUITES

    own = {"MMFORGET_CACHE": os.environ.get("MMFORGET_CACHE") or str(context.folder / "cache")}
    before, names = dict(os.environ), QUICK_SUITE if context.quick else SUITES[SUITE]
    inside, command = (partial(call, quick=context.quick) for call in (_inside, _command))
    os.environ |= own
    try:
        say("attacks: the model")
        inside(names[:1])
        found = {"attacks": list(names), "inside": compared(inside, names, repeats=context.repeats)}
        return found | {"commands": compared(command, names, repeats=1)}
    finally:
        os.environ.clear()
        os.environ |= before


def compared(call: Call, names: Sequence[str], *, repeats: int) -> dict[str, Any]:
    """Times of all attacks in one call and of each in a call of its own, in turn. Raises where their numbers differ."""
    taken: dict[str, list[Seconds]] = {"suite": [], **{name: [] for name in names}}
    together: Results = {}
    for number in range(repeats):
        for name, own in taken.items():
            say(f"attacks: {name}, {number + 1} of {repeats}")
            results, seconds = _timed(call, names if name == "suite" else [name])
            own.append(seconds)
            if name == "suite":
                together = results
            else:
                check_same(results, together)
    times = {name: Timing(own) for name, own in taken.items()}
    suite, alone = times.pop("suite"), times
    wall, cpu = (sum(getattr(one, kind) for one in alone.values()) for kind in ("best", "best_cpu"))
    return {
        "suite": suite.as_dict(),
        "alone": {name: one.as_dict() for name, one in alone.items()},
        "alone_s": wall,
        "alone_cpu_s": cpu,
        "ratio": wall / suite.best,
        "ratio_cpu": cpu / suite.best_cpu,
    }


def check_same(alone: Results, together: Results) -> None:
    """Raises RuntimeError where an attack by itself came to something else than among the others."""
    for name, found in alone.items():
        if found != together[name]:
            raise RuntimeError(f"{name or 'the plain question'} gives {found} alone and {together[name]} in the suite")


def _timed(call: Call, names: Sequence[str]) -> tuple[Results, Seconds]:
    found: list[Results] = []
    children = _of_children()
    own = clock(lambda: found.append(call(names)))
    return found[0], Seconds(own.wall, own.cpu + _of_children() - children)


def _of_children() -> float:
    """Processor seconds of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _words(names: Sequence[str], *, quick: bool) -> list[str]:
    words = ["attack", "--model", "micro", "--tasks", TASKS, "--attacks", ",".join(names), "--json", "--quiet"]
    return [*words, *(QUICK if quick else ())]


def _inside(names: Sequence[str], *, quick: bool) -> Results:
    from mmforget.cli.main import main

    shown = io.StringIO()
    with redirect_stdout(shown):
        status = main(_words(names, quick=quick))
    if status != 0:
        raise RuntimeError(f"mmforget attack ended with status {status}")
    return _results(shown.getvalue())


def _command(names: Sequence[str], *, quick: bool) -> Results:
    done = subprocess.run(
        [sys.executable, "-m", "mmforget", *_words(names, quick=quick)], capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"mmforget attack ended with status {done.returncode}: {done.stderr[-2000:]}")
    return _results(done.stdout)


def _results(text: str) -> Results:
    return {one["attack"]: one for one in json.loads(text)[TASKS]["model"]}
