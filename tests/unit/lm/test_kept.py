"""Values in batches: what is kept is not computed again, and a batch of which a part is missing is computed whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mmforget.lm.cache import ResponseCache
from mmforget.lm.kept import in_batches

BATCHES = ((2, 0), (1, 3), (4,))


class Counter:
    """Gives each place its tenfold, and notes what it was asked."""

    def __init__(self, *, breaks_at: Sequence[int] = ()) -> None:
        self.asked: list[Sequence[int]] = []
        self.breaks_at = breaks_at

    def __call__(self, batch: Sequence[int]) -> list[float]:
        if batch == self.breaks_at:
            raise KeyboardInterrupt
        self.asked.append(batch)
        return [10.0 * at for at in batch]


def test_what_is_interrupted_goes_on_behind_the_last_whole_batch(tmp_path: Path) -> None:
    keys, cache = list("abcde"), ResponseCache(tmp_path / "answers.sqlite")
    first = Counter(breaks_at=(1, 3))
    with pytest.raises(KeyboardInterrupt):
        in_batches(first, batches=BATCHES, keys=keys, cache=cache)
    assert first.asked == [(2, 0)]
    second, told = Counter(), []
    found = in_batches(second, batches=BATCHES, keys=keys, cache=cache, finished=told.append)
    assert (second.asked, told) == ([(1, 3), (4,)], list(BATCHES))
    assert found == [0.0, 10.0, 20.0, 30.0, 40.0]
    third = Counter()
    others = [*"abc", "other", "e"]
    assert in_batches(third, batches=BATCHES, keys=others, cache=cache) == found
    assert third.asked == [(1, 3)]


def test_without_a_cache_everything_is_computed() -> None:
    every = Counter()
    assert in_batches(every, batches=BATCHES, keys=list("abcde"), cache=None) == [0.0, 10.0, 20.0, 30.0, 40.0]
    assert every.asked == list(BATCHES)
