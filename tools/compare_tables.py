"""Whether the tables of two runs say the same: every value of each lies in the other's interval.

    tools/compare_tables.py demo/leaderboard.json other/leaderboard.json

Compared are `overall`, forget score and utility of every row, of all boards; target and retain models too. Prints every
number that lies outside, and ends with status 1 where there is one, 2 where the files cannot be compared.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

NUMBERS = ("overall", "forget_score", "utility")
ROUNDING = 1e-9


class Cell(NamedTuple):
    """A number of a table: whose, and which."""

    board: str
    label: str
    name: str


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path, metavar="LEADERBOARD_JSON")
    parser.add_argument("second", type=Path, metavar="LEADERBOARD_JSON")
    args = parser.parse_args(argv)
    try:
        first, second = (numbers_of(json.loads(path.read_text(encoding="utf-8"))) for path in (args.first, args.second))
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"compare_tables: error: not two leaderboard.json: {error!r}", file=sys.stderr)
        return 2
    lines = list(differences(first, second))
    for line in lines:
        print(line)
    if not lines:
        print(f"{len(first)} numbers, each inside the other's interval")
    return int(bool(lines))


def numbers_of(document: Mapping[str, Any]) -> dict[Cell, Mapping[str, Any]]:
    """The estimates of all rows of a `leaderboard.json`."""
    return {
        Cell(row["board"], row["label"], name): row["headline"][name]
        for row in document["rows"]
        for name in NUMBERS
        if name in row["headline"]
    }


def differences(first: Mapping[Cell, Mapping[str, Any]], second: Mapping[Cell, Mapping[str, Any]]) -> Iterator[str]:
    """A line for every number that one table lacks, and for every value outside the other's interval."""
    for cell in dict.fromkeys((*first, *second)):
        name = f"{cell.board} {cell.label} {cell.name}"
        if cell not in first or cell not in second:
            yield f"{name}: only in the {'first' if cell in first else 'second'}"
            continue
        one, other = first[cell], second[cell]
        for own, there, place in ((one, other, "second"), (other, one, "first")):
            if not is_inside(own["value"], low=there["low"], high=there["high"], value=there["value"]):
                yield f"{name}: {own['value']} lies outside [{there['low']}, {there['high']}] of the {place}"


def is_inside(number: float | None, *, low: float | None, high: float | None, value: float | None) -> bool:
    """Whether a number lies in an interval; without an interval, whether it is the other's value."""
    if number is None or value is None:
        return number is value
    least, most = (value if low is None else low), (value if high is None else high)
    return least - ROUNDING <= number <= most + ROUNDING


if __name__ == "__main__":
    sys.exit(main())
