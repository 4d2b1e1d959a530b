"""Runs with seeds and workers, each killed at a moment drawn at random and continued: does it end as if undisturbed?

    tools/kill_runs.py --kills 20 --seed 0

One run of two methods and two seeds in one process is left in peace. Then as many runs as there are kills, with two
workers each, are stopped at a step of progress of any of their trainings or evaluations, every fifth by Ctrl-C, and the
same command is given again at once. Leaderboard, records, samples, logs and weights are compared to the last bit, and
no process may be left. A line for each goes to stdout, counts at the end; the exit status is 1 where one differs.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmforget.benchmark.cache import cache_folder  # noqa: E402
from tests.equal_runs import differences  # noqa: E402
from tests.killing import Runner, left_over, train_tower, undisturbed, with_tower  # noqa: E402

RUN = (
    "run", "--model", "micro", "--tasks", "fiubench_forget1", "--methods", "grad_diff,npo", "--seeds", "0,1",
    "--allow_weak_target", "--stage_one_args", "max_steps=8,save_steps=3", "--max_steps", "6", "--save_steps", "2",
    "--limit", "5", "--batch_size", "4", "--metadata", "num_subjects=12",
)  # fmt: skip
CTRL_C_EVERY = 5


class Kill(NamedTuple):
    """One run that was stopped and continued: what is wrong with how it ended, nothing where it is as it should be."""

    moment: str
    by: signal.Signals
    faults: list[str]


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory(prefix="kills-") as scratch:
        tower = train_tower(cache_folder() / "micro")
        try:
            calm = undisturbed(Path(scratch) / "calm", RUN, tower=tower)
        except RuntimeError as error:
            raise SystemExit(str(error)) from error
        kills = []
        for number in range(1, args.kills + 1):
            by = signal.SIGINT if number % CTRL_C_EVERY == 0 else signal.SIGKILL
            made = with_tower(Runner(Path(scratch) / str(number)), source=tower)
            kills.append(killed(made, calm=calm, moment=rng.choice(calm.steps()), by=by, workers=args.workers))
            print(f"{number}: {_told(kills[-1])}", flush=True)
    print(_counts(kills))
    return int(any(kill.faults for kill in kills))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kill_runs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20, metavar="N", help="runs that are stopped once; default 20")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes of such a run; default 2")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the moments")
    return parser


def killed(made: Runner, *, calm: Runner, moment: str, by: signal.Signals, workers: int) -> Kill:
    """A run stopped at a moment and given again, compared with the undisturbed one."""
    words = (*RUN, "--workers", str(workers))
    first, again = made.run(words, moment=moment, by=by), made.run(words)
    faults = []
    if first.status != (130 if by == signal.SIGINT else -by):
        faults.append(f"stopped with status {first.status}: {first.err}")
    if again.status != 0:
        faults.append(f"continued with status {again.status}: {again.err}")
    else:
        faults += differences(calm, made)
    faults += [f"process {process} is left" for one in (first, again) for process in left_over(one.session)]
    return Kill(moment, by, faults)


def _told(kill: Kill) -> str:
    how = "equal" if not kill.faults else "; ".join(kill.faults)
    return f"{kill.by.name} at '{kill.moment}': {how}"


def _counts(kills: Sequence[Kill]) -> str:
    by_hand = sum(kill.by == signal.SIGINT for kill in kills)
    equal = sum(not kill.faults for kill in kills)
    return f"{len(kills)} kills, {by_hand} of them by Ctrl-C: {equal} equal, {len(kills) - equal} not"


if __name__ == "__main__":
    raise SystemExit(main())
