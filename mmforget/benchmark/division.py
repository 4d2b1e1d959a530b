"""A benchmark's rows divided by subject: a validation part, which decides on checkpoints, and the test part.

The subjects of every set that is asked are put in an order drawn with a fixed seed, the same for a subject in whichever
set; the first fifth of each set, at least one, is validation. All rows of these subjects are, in whatever set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from mmforget.benchmark.instances import limited
from mmforget.benchmark.spec import Bound
from mmforget.errors import UserError

SHARE, SEED = 0.2, 0


@dataclass(frozen=True)
class Division:
    """Which rows are for validation.

    Attributes:
        bound: the benchmark with its data.
        subjects: of the validation part.
    """

    bound: Bound
    subjects: frozenset[str]

    def places(self, set_name: str, *, validation: bool, limit: float | None = None) -> list[int]:
        """Places of the rows of one part of a set: the first `limit`, or a share of them where below 1."""
        subjects = self.bound.column(set_name, "subject")
        found = [place for place, subject in enumerate(subjects) if (subject in self.subjects) == validation]
        return found if limit is None else found[: limited(len(found), limit)]

    def describe(self) -> dict[str, Any]:
        """For the record: how it was cut, and how many subjects of each set are in either part."""
        sets = dict.fromkeys(task.set for task in self.bound.benchmark.tasks)
        counts = {}
        for name in sets:
            subjects = set(self.bound.column(name, "subject"))
            counts[name] = {"validation": len(subjects & self.subjects), "test": len(subjects - self.subjects)}
        return {"by": "subject", "share": SHARE, "seed": SEED, "subjects": counts}


def divided(bound: Bound, *, needed: Sequence[str], flag: str = "--eval_steps") -> Division:
    """The division of a benchmark's rows.

    Args:
        needed: sets that must have rows in both parts.
        flag: what asks for it, for messages.

    Raises UserError for such a set that one subject has all rows of.
    """
    chosen: set[str] = set()
    for name in dict.fromkeys(task.set for task in bound.benchmark.tasks):
        subjects = drawn_order(bound.column(name, "subject"))
        if len(subjects) > 1:
            chosen.update(subjects[: ceil(SHARE * len(subjects))])
    found = Division(bound, frozenset(chosen))
    for name in dict.fromkeys(needed):
        parts = [found.places(name, validation=is_validation) for is_validation in (True, False)]
        if not all(parts):
            num = len(set(bound.column(name, "subject")))
            raise UserError(
                f"{bound.benchmark.group}: {flag} needs subjects for validation and others for the test, and the {num} "
                f"of the set '{name}' cannot be divided so; leave it out, or take more subjects"
            )
    return found


def drawn_order(subjects: Sequence[str]) -> list[str]:
    """Different subjects in an order that depends on each one's name alone."""
    return sorted(dict.fromkeys(map(str, subjects)), key=_draw)


def _draw(subject: str) -> str:
    return hashlib.sha256(f"{SEED}:{subject}".encode()).hexdigest()
