"""Answers one token at a time, each behind the end of what stands before it: what is known without the beginning."""

from __future__ import annotations

import math
from dataclasses import replace

from mmforget.model.encode import Encoded


def with_suffixes(encoded: Encoded, *, share: float) -> list[Encoded]:
    """A sequence for each token of the answer: the token behind the last `share` of what stands before it.

    That is rounded up to whole tokens, of which an image counts one: it is there or not. At least one is left.
    """
    spans = _spans(encoded)
    found = []
    for place in range(encoded.num_context, len(encoded)):
        before = [span for span in spans if span[1] <= place]
        # A share that is rounded up by its last bit must not let another token in.
        num = max(1, math.ceil(round(share * len(before), 6)))
        found.append(_cut(encoded, start=before[-num][0], stop=place + 1))
    return found


def _spans(encoded: Encoded) -> list[tuple[int, int]]:
    """Where each token, or image with all that stands between its tokens, begins and ends, in order."""
    starts = dict(_images(encoded))
    found, place = list[tuple[int, int]](), 0
    while place < len(encoded):
        stop = starts.get(place, place + 1)
        found.append((place, stop))
        place = stop
    return found


def _images(encoded: Encoded) -> list[tuple[int, int]]:
    found, at = [], 0
    for size in encoded.image_sizes:
        own = encoded.image_at[at : at + size]
        found.append((own[0], own[-1] + 1))
        at += size
    return found


def _cut(encoded: Encoded, *, start: int, stop: int) -> Encoded:
    """The tokens from one place to another, of which the last one is the answer, with the images among them."""
    kept = [number for number, (first, last) in enumerate(_images(encoded)) if first >= start and last <= stop]
    grid = encoded.grid_positions
    return replace(
        encoded,
        ids=encoded.ids[start:stop],
        num_context=stop - start - 1,
        images=tuple(encoded.images[number] for number in kept),
        image_keys=tuple(encoded.image_keys[number] for number in kept),
        image_at=tuple(place - start for place in encoded.image_at if start <= place < stop),
        image_sizes=tuple(encoded.image_sizes[number] for number in kept),
        grid_positions=None if grid is None else grid[:, start:stop],
        lead="",
    )
