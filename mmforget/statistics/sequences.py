"""What requests that are carried out one after another do to one another: what comes back, and what is lost.

Let a[j][k] be the mean score of the rows of request k after request j, higher where more of them is remembered, j = 0
before the first request; u[j] the utility after request j. Requests count from 1 to N.

rebound        of request k: max over j > k of a[j][k] - a[k][k], and at least 0: how much of what it had forgotten came
               back at the worst. The last request has none: nothing comes after it.
damage         of request k: u[k-1] - u[k], the utility that it cost; negative where utility rose.
cumulative     of request k: u[0] - u[k], what all requests so far have cost together.
"""

from __future__ import annotations

from collections.abc import Sequence

Numbers = Sequence[float | None]


def rebound(recall: Sequence[Numbers]) -> tuple[float | None, ...]:
    """How far the rows of each request but the last came back at the worst.

    Args:
        recall: [N + 1][N], a[j][k - 1] of the module's text.

    None where it is not known how much was left right after the request, or nothing later is.
    """
    return tuple(_back(recall, number) for number in range(1, len(recall) - 1))


def _back(recall: Sequence[Numbers], number: int) -> float | None:
    left = recall[number][number - 1]
    later = [row[number - 1] for row in recall[number + 1 :]]
    known = [value for value in later if value is not None]
    return None if left is None or not known else max(0.0, max(known) - left)


def damage(utility: Numbers) -> tuple[float | None, ...]:
    """What each request cost: the utility [N + 1] before it less that after it. None where one of them is unknown."""
    return tuple(_less(before, after) for before, after in zip(utility, utility[1:], strict=False))


def cumulative_damage(utility: Numbers) -> tuple[float | None, ...]:
    """What all requests up to each have cost together: the utility at the start less that after it."""
    return tuple(_less(utility[0], after) for after in utility[1:])


def known_mean(values: Numbers) -> float | None:
    """The mean of the numbers that are known; None where none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _less(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else before - after
