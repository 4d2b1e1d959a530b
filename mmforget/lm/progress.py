"""How far the answering of requests is: bars on stderr, or a report to whoever shows progress."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tqdm import tqdm  # type: ignore[import-untyped]

from mmforget.types import Progress

Shown = bool | Progress
"""True for bars on stderr where that is a terminal, False for none, or a function that is told."""


@contextmanager
def told(progress: Shown, *, labels: Sequence[str]) -> Iterator[Callable[[Sequence[int]], None]]:
    """Gives a function to call with the indices of the requests just answered.

    Args:
        labels: of each request, what it belongs to; every label is reported by itself.
    """
    totals, done = Counter(labels), Counter[str]()
    with tqdm(total=len(labels), disable=None if progress is True else True, leave=False) as bar:

        def advance(indices: Sequence[int]) -> None:
            found = Counter(labels[index] for index in indices)
            for label, count in found.items():
                done[label] += count
                bar.set_description(label, refresh=False)
                if not isinstance(progress, bool):
                    progress(done[label], totals[label], label)
            bar.update(len(indices))

        yield advance
