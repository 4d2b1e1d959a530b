"""Wrong input of five kinds, drawn from a seed: nothing may end in a traceback, hang, believe a lie or lose a file.

    tools/fuzz.py --cases 10000 --seed 0 --output fuzz.json
    tools/fuzz.py --only records,tasks --cases 500
    tools/fuzz.py --only records --case 137            # one case again, with what it said

Kinds: commands (command lines), data (folders of official files), models (model, adapter and processor folders),
records (run records and their samples), tasks (task files and plugins). Cases are shared out evenly; each has a bound
on its time. Counts of outcomes and every bad case go to stderr; the exit status is 1 where there is one. Nothing is
trained, and nothing leaves the machine.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

KINDS = ("commands", "data", "models", "records", "tasks")
PRELOADED = (
    "lm_eval.evaluator",
    "lm_eval.tasks",
    "mmforget.cli.checks",
    "mmforget.cli.plan",
    "mmforget.cli.recheck",
    "mmforget.leaderboard.export",
    "mmforget.pipeline.run",
    "mmforget.pipeline.evaluating",
    "peft",
    "rouge_score.rouge_scorer",
    "sklearn.metrics",
    "transformers.models.llama.modeling_llama",
    "transformers.models.llava.modeling_llava",
)
"""Imported once, in the process that workers are forked from."""
TOLD = 40
"""Bad cases that are told of each kind."""


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    _prepare()
    documents = {}
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        for position, name in enumerate(args.only):
            count = args.cases // len(args.only) + (position < args.cases % len(args.only))
            numbers = range(args.start, args.start + count) if args.case is None else [args.case]
            documents[name] = _fuzzed(name, args=args, numbers=numbers, folder=Path(scratch) / name)
    document = {"seed": args.seed, "kinds": documents}
    if args.output:
        args.output.write_text(json.dumps(document, indent=2) + "\n")
    return int(any(kind["bad"] for kind in documents.values()))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=10_000, metavar="N", help="in all; default 10000")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--only", type=_kinds, default=KINDS, metavar="KINDS", help=f"some of {','.join(KINDS)}")
    parser.add_argument("--start", type=int, default=0, metavar="N", help="number of the first case of each kind")
    parser.add_argument("--case", type=int, metavar="N", help="this case alone, and what it said")
    parser.add_argument("--timeout_s", type=float, default=60.0, metavar="S", help="a case that takes longer hangs")
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON of counts and bad cases")
    return parser


def _kinds(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not set(names) <= set(KINDS):
        raise argparse.ArgumentTypeError(f"'{text}': choose among {','.join(KINDS)}")
    return names


def _prepare() -> None:
    """One thread, no network, no chatter; libraries are loaded before processes are forked."""
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "NO_COLOR": "1"}
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    for name in PRELOADED:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)


def _fuzzed(name: str, *, args: argparse.Namespace, numbers: Sequence[int], folder: Path) -> dict[str, Any]:
    """Counts by outcome, the bad cases, and the slowest of one kind."""
    from tools.fuzzing import command_lines, data_folders, models, records, task_files
    from tools.fuzzing.trials import GOOD
    from tools.fuzzing.workers import run_cases

    modules = {"commands": command_lines, "data": data_folders, "models": models, "records": records}
    kind = modules.get(name, task_files).KIND
    begun, counts, bad, slowest = time.perf_counter(), Counter[str](), [], 0.0
    for ended in run_cases(kind, seed=args.seed, numbers=numbers, folder=folder, timeout_s=args.timeout_s):
        counts[ended.outcome.kind] += 1
        slowest = max(slowest, ended.wall_s)
        if ended.outcome.kind not in GOOD:
            bad.append({"case": ended.number, **ended.outcome._asdict()})
        if ended.outcome.kind not in GOOD or args.case is not None:
            _tell(name, ended.number, ended.outcome, quiet=len(bad) > TOLD)
    wall_s = time.perf_counter() - begun
    shown = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    print(f"{name}: {sum(counts.values())} cases in {wall_s:.0f} s: {shown}; slowest {slowest:.1f} s", file=sys.stderr)
    return {"cases": sum(counts.values()), "outcomes": counts, "wall_s": wall_s, "slowest_s": slowest, "bad": bad}


def _tell(name: str, number: int, outcome: Any, *, quiet: bool) -> None:
    if not quiet:
        words = f"  {name} {number}: {outcome.kind}: {outcome.what}: {outcome.detail}"
        print(words.encode("ascii", "backslashreplace").decode()[:600], file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
