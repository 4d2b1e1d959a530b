"""Subjects that are forgotten one at a time, and which rows of each set are asked for which of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from mmforget.benchmark.spec import Bound
from mmforget.errors import UserError


@dataclass(frozen=True)
class Instances:
    """The subjects of the forget set, each forgotten alone.

    Attributes:
        names: of the subjects, in the order of their first rows.
        rows: by set and instance the places of its rows.
        shared: sets whose rows are of no instance; all of them are asked for every one.
    """

    names: tuple[str, ...]
    rows: Mapping[str, Mapping[str, tuple[int, ...]]]
    shared: frozenset[str]

    def asked(self, set_name: str, instance: str, *, limit: float | None = None) -> tuple[int, ...]:
        """Places of the rows of a set that are asked for an instance: the first `limit`, or a share where below 1."""
        found = self.rows[set_name].get(instance, ())
        return found if limit is None else found[: limited(len(found), limit)]

    def union(self, set_name: str, *, limit: float | None = None) -> tuple[int, ...]:
        """Places of the rows of a set that are asked for any instance: what models that forget nothing are asked."""
        return tuple(sorted({place for name in self.names for place in self.asked(set_name, name, limit=limit)}))

    def num_questions(self, set_name: str, *, limit: float | None = None) -> int:
        """Questions of one task over a set, all instances together."""
        return sum(len(self.asked(set_name, name, limit=limit)) for name in self.names)


def instances_of(bound: Bound) -> Instances:
    """The instances of a benchmark. A set with rows of none of them is shared. Raises UserError where there is none."""
    names = tuple(dict.fromkeys(_subjects(bound, bound.benchmark.forget_set)))
    if not names:
        raise UserError(f"{bound.benchmark.group}: the set '{bound.benchmark.forget_set}' has no rows in this data")
    known, rows, shared = set(names), {}, set()
    for set_name in dict.fromkeys(task.set for task in bound.benchmark.tasks):
        subjects = _subjects(bound, set_name)
        if known.isdisjoint(subjects):
            shared.add(set_name)
            rows[set_name] = dict.fromkeys(names, tuple(range(len(subjects))))
        else:
            rows[set_name] = _places(subjects)
    return Instances(names, rows, frozenset(shared))


def limited(num_rows: int, limit: float) -> int:
    """How many of some rows a limit leaves: so many, or their share where below 1."""
    return min(num_rows, ceil(num_rows * limit) if limit < 1 else int(limit))


def _subjects(bound: Bound, set_name: str) -> list[str]:
    return bound.column(set_name, "subject")


def _places(subjects: list[str]) -> dict[str, tuple[int, ...]]:
    found: dict[str, list[int]] = {}
    for place, subject in enumerate(subjects):
        found.setdefault(subject, []).append(place)
    return {subject: tuple(places) for subject, places in found.items()}
