"""Which numbers were found unable to tell models with the knowledge from models without, and on which benchmark.

`cannot_tell.json` is made of `bench/meta.json` by `tools/meta_page.py`; what was measured, and how, stands in
docs/meta.md.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_suffix(".json")


class Untold(NamedTuple):
    """A number whose AUC between the pools has an interval that reaches a half.

    Attributes:
        benchmark: the group that it was measured on.
        attack: what asked; None for the benchmark itself.
    """

    benchmark: str
    metric: str
    set: str
    profile: str
    attack: str | None
    auc: float
    low: float
    high: float


@cache
def untold() -> tuple[Untold, ...]:
    """All that were found."""
    return tuple(Untold(**row) for row in json.loads(FILE.read_text(encoding="utf-8"))["rows"])


def is_untold(metric: str, *, group: str, set_name: str, profile: str, attack: str | None = None) -> Untold | None:
    """What was found of a number of a benchmark; None where it tells, or was not measured.

    Args:
        metric: with its arguments.
    """
    key = (group, metric, set_name, profile, attack)
    return next((one for one in untold() if one[:5] == key), None)
