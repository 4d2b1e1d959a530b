"""When a training ends early by what it comes to on the validation part, and which of its steps is kept.

    --stop 'forget<0.3,utility<0.8*start,patience=3' --keep best:balance

A *point* is what a model comes to after so many updates, 0 before the first:

forget         how much is remembered of the validation rows to forget, in the gate's metric; lower is better.
utility        the benchmark's composite on the validation rows to keep; higher is better.
balance        harmonic mean of (f0 - f) / f0 and u / u0, each kept within 0 and 1, where f and u are forget and utility
               and f0 and u0 those before the first update; higher is better, 0 before the first.

A rule `NAME<X` or `NAME>X` holds where the number lies below or above X; `X*start` is X times what the number was
before the first update. `patience=N` holds where none of the last N points is better, in what `--keep best:` names,
than the best before them. Training ends after the first point where any rule holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mmforget.errors import UserError, shortened

NAMES = ("forget", "utility", "balance")
LOWER_IS_BETTER = frozenset({"forget"})
LAST, BEST = "last", "best:"
COMPARED = re.compile(r"(?P<name>\w+)\s*(?P<sign>[<>])\s*(?P<value>[0-9.eE+-]+)(?P<start>\s*\*\s*start)?")
PATIENCE = re.compile(r"patience\s*=\s*(?P<num>[1-9][0-9]{0,6})")
ALLOWED = "give rules such as forget<0.3, utility<0.8*start or patience=3, of " + ", ".join(NAMES)


class Point(NamedTuple):
    """What a model comes to after so many updates; None where nothing could be scored."""

    step: int
    forget: float | None
    utility: float | None
    balance: float | None = None

    def of(self, name: str) -> float | None:
        value: float | None = getattr(self, name)
        return value


class Rule(NamedTuple):
    """A number and a limit, or points to wait for (`num`).

    Attributes:
        text: as it was written.
        times_start: whether the limit is a multiple of what the number was before the first update.
    """

    text: str
    name: str = ""
    sign: str = ""
    limit: float = 0.0
    times_start: bool = False
    num: int = 0

    def holds(self, curve: Sequence[Point], *, keep: str) -> bool:
        """Whether it holds at the last point of a curve; not where a number is unknown."""
        if self.num:
            return _waited(curve, name=keep.removeprefix(BEST), num=self.num)
        value, start = curve[-1].of(self.name), curve[0].of(self.name)
        if value is None or (self.times_start and start is None):
            return False
        limit = self.limit * (start or 0.0) if self.times_start else self.limit
        return value < limit if self.sign == "<" else value > limit


def balance(forget: float | None, utility: float | None, *, start: Point | None) -> float | None:
    """Harmonic mean of what was forgotten and what was kept, as shares of what there was before the first update.

    None where a number is unknown, or there was nothing to forget or to keep.
    """
    if start is None:
        return 0.0 if forget and utility else None
    if forget is None or utility is None or not start.forget or not start.utility:
        return None
    forgotten = min(1.0, max(0.0, (start.forget - forget) / start.forget))
    kept = min(1.0, max(0.0, utility / start.utility))
    return 2 * forgotten * kept / (forgotten + kept) if forgotten + kept else 0.0


def parse_rules(text: str) -> tuple[Rule, ...]:
    """The rules of `--stop`. Raises UserError, naming what is allowed, for one that is none."""
    return tuple(_rule(part.strip()) for part in text.split(",") if part.strip())


def _rule(text: str) -> Rule:
    if found := PATIENCE.fullmatch(text):
        return Rule(text, num=int(found["num"]))
    found = COMPARED.fullmatch(text)
    if found is None or found["name"] not in NAMES:
        raise UserError(f"--stop: {shortened(text)} is no rule; {ALLOWED}")
    try:
        limit = float(found["value"])
    except ValueError:
        raise UserError(f"--stop: {shortened(text)} has no number ({found['value']}); {ALLOWED}") from None
    return Rule(text, found["name"], found["sign"], limit, bool(found["start"]))


def check_keep(text: str, *, rules: Sequence[Rule]) -> None:
    """Raises UserError for what `--keep` cannot mean, and for patience that has nothing to get better."""
    names = [f"{BEST}{name}" for name in NAMES]
    if text not in (LAST, *names):
        raise UserError(f"--keep: {shortened(text)} is not allowed; give {LAST}, {' or '.join(names)}")
    waiting = next((rule for rule in rules if rule.num), None)
    if waiting is not None and text == LAST:
        raise UserError(f"--stop {waiting.text} waits for something to get better; say what with --keep best:balance")


def reason(curve: Sequence[Point], *, rules: Sequence[Rule], keep: str) -> str:
    """The first rule that holds at the last point of a curve, as it was written; "" where training goes on.

    Nothing ends a training before its first update.
    """
    if not curve or curve[-1].step == 0:
        return ""
    return next((rule.text for rule in rules if rule.holds(curve, keep=keep)), "")


def kept(curve: Sequence[Point], *, keep: str) -> Point | None:
    """The point of a curve that is kept: the last, or the first of the best ones; None where none has the number."""
    if keep == LAST:
        return curve[-1] if curve else None
    name = keep.removeprefix(BEST)
    known = [point for point in curve if point.of(name) is not None]
    return _best(known, name=name)


def _best(points: Sequence[Point], *, name: str) -> Point | None:
    return max(points, key=lambda point: _worth(point, name=name), default=None)


def _worth(point: Point, *, name: str) -> float:
    value = point.of(name)
    return 0.0 if value is None else -value if name in LOWER_IS_BETTER else value


def _waited(curve: Sequence[Point], *, name: str, num: int) -> bool:
    best = kept(curve, keep=f"{BEST}{name}")
    later = [] if best is None else [point for point in curve if point.step > best.step]
    return len(later) >= num


def point_from(line: Mapping[str, object]) -> Point:
    """A point as the training's log has it."""
    numbers = {name: value for name, value in line.items() if isinstance(value, int | float) and name in NAMES}
    step = line["step"]
    return Point(int(step) if isinstance(step, int) else 0, *(numbers.get(name) for name in NAMES))
