"""The whole demo of another checkout and of this one, cold and in turn: each as its own Makefile has it."""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.context import Context
from benchmarks.demo_stages import QUICK
from benchmarks.measuring import say

HERE = Path(__file__).parent.parent.parent
TARGET = "demo:"


def run(context: Context, against: Path) -> dict[str, Any]:
    """Seconds of every pair, the command as a process of its own with empty caches, and the ratio of the medians."""
    pairs = []
    for number in range(context.repeats):
        pair: dict[str, float] = {}
        for name, checkout in (("against", against), ("ours", HERE)):
            say(f"demo: pair {number + 1} of {context.repeats}, {name}")
            pair[f"{name}_s"] = _seconds(checkout, context.folder / f"demo-{number}-{name}", quick=context.quick)
        pairs.append(pair)
    ours, theirs = (statistics.median(pair[f"{name}_s"] for pair in pairs) for name in ("ours", "against"))
    commands = {name: shlex.join(demo_command(path)) for name, path in (("ours", HERE), ("against", against))}
    return {"commands": commands, "pairs": pairs, "ours_s": ours, "against_s": theirs, "ratio": ours / theirs}


def demo_command(checkout: Path) -> list[str]:
    """The words after `mmforget` of the command that `make demo` runs there.

    Raises ValueError where the Makefile has no such command.
    """
    lines = (checkout / "Makefile").read_text(encoding="utf-8").splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith(TARGET)]
    words = shlex.split(lines[starts[0] + 1]) if starts and starts[0] + 1 < len(lines) else []
    if not words or not words[0].endswith("mmforget"):
        raise ValueError(f"{checkout / 'Makefile'}: no mmforget command below '{TARGET}'")
    return words[1:]


def _seconds(checkout: Path, folder: Path, *, quick: bool) -> float:
    """One demo with everything it makes below `folder`, which is new."""
    folder.mkdir(parents=True)
    words = demo_command(checkout)
    words[words.index("--output_path") + 1] = str(folder / "demo")
    command = [sys.executable, "-m", "mmforget", *words, *(QUICK if quick else [])]
    own = {"MMFORGET_CACHE": str(folder / "cache"), "HF_DATASETS_CACHE": str(folder / "datasets")}
    start = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env={**os.environ, **own, "PYTHONPATH": str(checkout)}
    )
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        raise RuntimeError(f"the demo of {checkout} ended with status {done.returncode}: {done.stderr[-2000:]}")
    return seconds
