"""Requests to forget that come one after another: each names a part of what is to be forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmforget.benchmark.spec import Bound
from mmforget.errors import UserError
from mmforget.types import Example


@dataclass(frozen=True)
class Request:
    """One of several requests.

    Attributes:
        number: from 1.
        subjects: what it forgets.
        folds: the sets whose rows it forgets, where the benchmark's document names some; else these are the rows of its
            subjects in the set that methods forget.
    """

    number: int
    subjects: tuple[str, ...]
    folds: tuple[str, ...] = ()

    def examples(self, bound: Bound) -> list[Example]:
        """The rows to forget."""
        if self.folds:
            return [example for name in self.folds for example in bound.examples(name)]
        return bound.examples(bound.benchmark.trained_sets["forget"], subjects=frozenset(self.subjects))

    def num_rows(self, bound: Bound) -> int:
        """How many they are."""
        if self.folds:
            return sum(map(bound.num_rows, self.folds))
        wanted = set(self.subjects)
        return sum(subject in wanted for subject in bound.column(bound.benchmark.trained_sets["forget"], "subject"))


def requests_of(bound: Bound, num: int) -> tuple[Request, ...]:
    """What is to be forgotten in `num` parts, in the order of the rows: the folds that the document names, or else the
    subjects, as evenly as they can be divided, the first parts with one more.

    Raises UserError where there are fewer than `num`.
    """
    benchmark = bound.benchmark
    folds = benchmark.folds
    if folds:
        _require_enough(len(folds), num, what="folds of what is to be forgotten", group=benchmark.group)
        _require_rows(folds, bound=bound, num=num)
        parts = divided(folds, num)
        return tuple(Request(at + 1, _subjects(bound, some), tuple(some)) for at, some in enumerate(parts))
    subjects = _subjects(bound, [benchmark.trained_sets["forget"]])
    _require_enough(len(subjects), num, what="subjects to forget", group=benchmark.group)
    return tuple(Request(at + 1, tuple(some)) for at, some in enumerate(divided(subjects, num)))


def divided(items: Sequence[str], num: int) -> list[list[str]]:
    """The items, in their order, in `num` parts whose sizes differ by at most one, the larger ones first."""
    size, rest = divmod(len(items), num)
    starts = [part * size + min(part, rest) for part in range(num + 1)]
    return [list(items[start:end]) for start, end in zip(starts, starts[1:], strict=False)]


def _require_enough(there: int, num: int, *, what: str, group: str) -> None:
    if there < num:
        least = f"give at most {there}" if there > 1 else "leave --requests out"
        raise UserError(f"{group}: --requests {num} is more than there are {what} ({there}); {least}")


def _require_rows(folds: Sequence[str], *, bound: Bound, num: int) -> None:
    empty = [name for name in folds if not bound.num_rows(name)]
    if empty:
        raise UserError(
            f"{bound.benchmark.group}: --requests {num} forgets the sets {', '.join(folds)}, and the data has no rows "
            f"for {', '.join(empty)}; add their files, or leave --requests out"
        )


def _subjects(bound: Bound, sets: Sequence[str]) -> tuple[str, ...]:
    """The subjects of sets, in the order of their first rows."""
    return tuple(dict.fromkeys(str(subject) for name in sets for subject in bound.column(name, "subject")))
