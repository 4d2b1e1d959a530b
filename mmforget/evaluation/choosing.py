"""Which of several settings of a method is taken: none that destroys the model, then one number above another.

Of the trials that have not collapsed, nor come near it while one that forgets in part is left, and that keep at least
MIN_UTILITY of the target's utility, the one with the best forget score; of equal ones the one with more utility, then
the first. Where none keeps so much, the one that keeps most. Where all have collapsed, one of them is taken in the same
way. All numbers are of the validation part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from mmforget.benchmark.spec import Benchmark
from mmforget.evaluation.collapse import signs_of_collapse
from mmforget.evaluation.headline import headline
from mmforget.evaluation.validation import validation_values
from mmforget.results.rules import PARTLY_FROM
from mmforget.types import Sample

EDGE = 0.25
"""Share of degenerate answers at which the next target may collapse: half of what counts as collapsed."""
MIN_UTILITY = 0.8
"""Share of the target's utility that has to be left."""
RULE = f"best forget score at a utility of at least {MIN_UTILITY:g} of the target's"
DEGENERATE = "degenerate,none"


class Tried(Protocol):
    """Something that may have destroyed the model."""

    @property
    def collapses(self) -> bool: ...

    @property
    def is_on_the_edge(self) -> bool: ...


T = TypeVar("T", bound=Tried)


def sound(tried: Sequence[T], *, forget_score: Callable[[T], float]) -> list[T]:
    """Those that do not collapse, without those on the edge while one that forgets in part is left; else none.

    Far from every edge is also what does nothing.
    """
    whole = [one for one in tried if not one.collapses]
    far = [one for one in whole if not one.is_on_the_edge]
    return far if any(forget_score(one) >= PARTLY_FROM for one in far) else whole


def worst_share(results: Mapping[str, Mapping[str, Any]]) -> float:
    """The largest share of degenerate answers among lm_eval's results by task; 0 where none is measured."""
    return max((float(task[DEGENERATE]) for task in results.values() if DEGENERATE in task), default=0.0)


@dataclass(frozen=True)
class Outcome:
    """What a model comes to on the validation part.

    Attributes:
        forget_score: as in the headline, with 0 for the target; None where target and retain model leave no room.
        forget, utility: as in `evaluation.validation`.
        collapses: the model has collapsed there, or could not be made.
        degenerate: share of degenerate answers, of the task with most of them.
        reasons: the signs of a collapse, in words.
    """

    forget_score: float | None = None
    forget: float | None = None
    utility: float | None = None
    collapses: bool = False
    degenerate: float = 0.0
    reasons: tuple[str, ...] = ()

    @property
    def is_on_the_edge(self) -> bool:
        return self.degenerate >= EDGE


def outcome_of(
    benchmark: Benchmark,
    samples: Sequence[Sample],
    *,
    target: Sequence[Sample],
    retain: Sequence[Sample] | None,
    results: Mapping[str, Mapping[str, Any]],
) -> Outcome:
    """What a model's answers on the validation part come to, beside those of the target and the retain model."""
    signs = signs_of_collapse(benchmark, samples, target=target, retain=retain)
    numbers = headline(benchmark, samples, target=target, retain=retain, collapsed=bool(signs)).estimates
    forget, utility = validation_values(benchmark, samples)
    return Outcome(
        forget_score=numbers["forget_score"].value,
        forget=forget,
        utility=utility,
        collapses=bool(signs),
        degenerate=worst_share(results),
        reasons=tuple(sign.text for sign in signs),
    )


def forgotten(outcome: Outcome, *, target: Outcome) -> float:
    """The forget score, or where the target has none the share of its `forget` that is gone; -1 where unknown."""
    if target.forget_score is not None:
        return -1.0 if outcome.forget_score is None else outcome.forget_score
    if outcome.forget is None or not target.forget:
        return -1.0
    return min(1.0, max(0.0, 1 - outcome.forget / target.forget))


def chosen(outcomes: Sequence[Outcome], *, target: Outcome) -> int:
    """The place of the outcome that the rule picks. Raises ValueError without outcomes."""
    if not outcomes:
        raise ValueError("no trials")
    left = sound(outcomes, forget_score=partial(forgotten, target=target)) or list(outcomes)
    least = MIN_UTILITY * (target.utility or 0.0)
    enough = [one for one in left if (one.utility or 0.0) >= least]
    if enough:
        best = max(enough, key=lambda one: (forgotten(one, target=target), one.utility or 0.0))
    else:
        best = max(left, key=lambda one: one.utility or 0.0)
    return next(place for place, one in enumerate(outcomes) if one is best)
