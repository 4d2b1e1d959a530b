"""All that reaches the terminal: lines for people, which cannot steer it, and the document that `--json` prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from mmforget.errors import printable
from mmforget.results.codec import to_jsonable
from mmforget.types import Estimate


def say(text: str) -> None:
    """Prints a result for people on stdout."""
    print(printable(text))


def tell(text: str) -> None:
    """Prints what goes on, or went wrong, on stderr."""
    print(printable(text), file=sys.stderr, flush=True)


def say_found(notes: Sequence[str], *, faults: Sequence[str]) -> None:
    """Prints what a look at somebody's file came to: notes on stdout, faults on stderr, and how many there are."""
    for note in notes:
        say(f"  note: {note}")
    for fault in faults:
        tell(f"mmforget: error: {fault}")
    num = len(faults)
    say("  " + (f"{num} fault{'s' if num > 1 else ''}, see above" if num else "nothing is wrong"))


def in_columns(lines: Sequence[Sequence[str]]) -> list[str]:
    """Lines of cells, those of a column one below the other."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def measured(estimate: Estimate) -> str:
    """A value with its interval; why there is none."""
    if estimate.value is None:
        return f"- ({'; '.join(estimate.reasons)})"
    interval = "" if estimate.low is None else f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    return f"{estimate.value:.3f}{interval}"


def print_json(document: Any) -> None:
    """Prints a document; NaN and infinity, which JSON does not know, as null."""
    print(json.dumps(to_jsonable(document, strict=False).value, indent=2, allow_nan=False))
