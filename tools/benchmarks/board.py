"""How the time of `mmforget leaderboard` grows with records: JSON rows, and the page. Beside another checkout if given.

Beside another checkout, which has to be the older, both read the same records: those that the other writes. All are
rows of one board, which is the hardest case. Wall time, processor time and peak memory are those of the command as a
process of its own, imports included; where other programs take turns on the cores only processor time can be relied on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.context import Context
from benchmarks.measuring import say

SCRIPT = Path(__file__).parent / "board_records.py"
HERE = Path(__file__).parent.parent.parent
PAGES, RECORDS = (12, 100), (100, 600)
MANY_RECORDS = (1000, 10_000)
"""Beside another checkout, whose cost grows faster; alone fewer show the slope, and records take longest to make."""
QUICK_PAGES, QUICK_RECORDS = (3, 6), (10, 20)


def run(context: Context) -> dict[str, Any]:
    """A row for each number of records: seconds of the whole command as a process of its own, imports included."""
    whole = (PAGES, RECORDS if context.against is None else MANY_RECORDS)
    pages, records = (QUICK_PAGES, QUICK_RECORDS) if context.quick else whole
    return {
        "page": [_row(context, num, what="page") for num in pages],
        "json": [_row(context, num, what="json") for num in records],
    }


def _row(context: Context, num_records: int, *, what: str) -> dict[str, Any]:
    say(f"board: {what} of {num_records} records")
    folder = context.folder / f"board-{what}-{num_records}"
    found: dict[str, Any] = {"num_records": num_records}
    if context.against is not None:
        found |= _named("against", _measured(context.against, folder, num_records, what))
    found |= _named("ours", _measured(HERE, folder, num_records, what))
    if context.against is not None:
        found |= {
            "ratio": found["against_s"] / found["ours_s"],
            "ratio_cpu": found["against_cpu_s"] / found["ours_cpu_s"],
        }
    return found


def _named(whose: str, measured: dict[str, float]) -> dict[str, float]:
    names = {"wall_s": "s", "cpu_s": "cpu_s", "peak_bytes": "peak_bytes"}
    return {f"{whose}_{names[name]}": value for name, value in measured.items()}


def _measured(checkout: Path, folder: Path, num_records: int, what: str) -> dict[str, float]:
    """Makes the records with the code of a checkout where there are none yet, then measures its command."""
    command = [sys.executable, str(SCRIPT), str(folder), str(num_records), what]
    env = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=env, cwd=folder.parent.parent)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found
