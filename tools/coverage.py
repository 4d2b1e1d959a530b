"""How often 95 % intervals hold the truth: every kind of estimate, on made-up subjects whose truth is known.

    tools/coverage.py --output bench/coverage.json --table docs/intervals.md
    tools/coverage.py --only closeness,overall --rounds 500
    tools/coverage.py --quick

Every repetition draws new subjects and new answers about them and computes the interval as an evaluation does. A case
is one line, a number of subjects one column. With `--output` an existing document keeps the cases that were not asked
for, so that it can be made in pieces; with `--table` the table between two marks in a Markdown file is written anew.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from simulation.measuring import measured, merged, table, write_table
from simulation.scenarios import scenarios

ROUNDS, QUICK_ROUNDS = 1000, 5


class Parser(argparse.ArgumentParser):
    """A parser that ends with one line and status 2 for a wrong flag."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see --help\n")


def build_parser() -> Parser:
    parser = Parser(prog="coverage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=_kinds, metavar="KINDS", help=f"some of {', '.join(_known())}")
    parser.add_argument("--rounds", type=_positive, default=ROUNDS, metavar="N", help=f"repetitions (default {ROUNDS})")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of everything drawn (default 0)")
    parser.add_argument("--quick", action="store_true", help="few repetitions: shows that everything runs, no more")
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON document to make or to bring up to date")
    parser.add_argument("--table", type=Path, metavar="FILE", help="Markdown file whose table is written anew")
    return parser


def _known() -> list[str]:
    return list(dict.fromkeys(scenario.kind for scenario in scenarios()))


def _kinds(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in _known()]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"unknown kind '{', '.join(unknown)}'; choose from {', '.join(_known())}")
    return names


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    chosen = [one for one in scenarios() if options.only is None or one.kind in options.only]
    rounds = QUICK_ROUNDS if options.quick else options.rounds
    lines = json.loads(options.output.read_text()) if options.output and options.output.exists() else []
    for line in measured(chosen, rounds=rounds, seed=options.seed):
        lines = merged(lines, [line])
        if options.output:
            options.output.write_text(json.dumps(lines, indent=1) + "\n")
    if options.table:
        write_table(options.table, lines)
    if not options.output and not options.table:
        print(table(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
