#!/usr/bin/env python
"""What cheats come to on every benchmark, beside honest models: a table in Markdown.

    tools/gaming.py --output docs/gaming_table.md
    tools/gaming.py --only fiubench,mmubench

Cheats and honest models are functions (`tools/fakes`) that answer the synthetic twins' questions; samples, judge,
metrics, headline, verdict and ranks are those of real models. A cheat is marked where it is ranked above the honest
model that forgot half, or called forgotten. Exit status 1 where any is.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from fakes.board import Result, results_of
from fakes.official_concept import write
from fakes.world import MAX_ROWS, World, world_of
from mmforget.benchmark import DataSource, catalogue

ONE_CONCEPT = "mmubench (official files of one concept)"
HALF = "forgot half"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="GROUPS", help="some groups, by comma; all without it")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the table goes; stdout without it")
    parser.add_argument("--max_rows", type=int, default=MAX_ROWS, help="questions a set (default %(default)s)")
    given = parser.parse_args(arguments)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in [name for name in groups() if given.only is None or name in given.only.split(",")]:
            found[name] = results_of(world(name, folder=Path(folder), max_rows=given.max_rows))
            print(f"{name}: {sum(is_won(result, found[name]) for result in found[name])} cheats win", file=sys.stderr)
    text = "\n".join(table(found)) + "\n"
    if given.output is None:
        print(text, end="")
    else:
        given.output.write_text(text)
    return int(any(is_won(result, results) for results in found.values() for result in results))


def groups() -> list[str]:
    """Every benchmark group that comes with mmforget, and MMUBench's official layout."""
    ours = [entry.name for entry in catalogue().entries if entry.kind == "group" and entry.origin == "mmforget"]
    return [*ours, ONE_CONCEPT]


def world(name: str, *, folder: Path, max_rows: int = MAX_ROWS) -> World:
    """The questions of a group; `folder` takes files that have to be written for it."""
    if name == ONE_CONCEPT:
        return world_of("mmubench", data=DataSource.parse(str(write(folder / "one"))), max_rows=max_rows)
    return world_of(name, data=DataSource("synthetic"), max_rows=max_rows)


def is_won(result: Result, results: Sequence[Result]) -> bool:
    """Whether a cheat is ranked above the honest model that forgot half, or is called forgotten."""
    half = next(other for other in results if other.name == HALF)
    return result.is_cheat and (result.status == "forgotten" or is_above(result, half))


def is_above(result: Result, other: Result) -> bool:
    """Whether a row has a better place; a row that may not be ranked has none."""
    return result.row.eligibility.eligible and result.place < other.place


def table(found: dict[str, list[Result]]) -> Iterator[str]:
    """One line a model, one column a benchmark: overall (forget score, utility ratio), verdict, `!` where it wins."""
    names = list(dict.fromkeys(result.name for results in found.values() for result in results))
    yield f"| model | {' | '.join(found)} |"
    yield f"|:---|{':---|' * len(found)}"
    for name in names:
        cells = []
        for results in found.values():
            result = next((one for one in results if one.name == name), None)
            cells.append("–" if result is None else cell(result, won=is_won(result, results)))
        yield f"| {name} | {' | '.join(cells)} |"


def cell(result: Result, *, won: bool) -> str:
    numbers = [result.value(name) for name in ("overall", "forget_score", "utility_ratio")]
    overall, forget, ratio = ("–" if value is None else f"{value:.2f}" for value in numbers)
    text = f"{overall} ({forget}, {ratio}) {result.status}"
    return f"**! {text}**" if won else text


if __name__ == "__main__":
    sys.exit(main())
