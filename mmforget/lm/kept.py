"""Values computed in batches and kept among a run's answers: what is interrupted goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mmforget import parallel
from mmforget.asking import CACHE_VERSION
from mmforget.lm.cache import ResponseCache
from mmforget.model.encode import Encoded
from mmforget.results.fingerprint import hash_json

Batch = Sequence[int]


def in_batches(
    compute: Callable[[Batch], Sequence[Any]],
    *,
    batches: Sequence[Batch],
    keys: Sequence[str],
    cache: ResponseCache | None,
    finished: Callable[[Batch], object] = lambda _: None,
) -> list[Any]:
    """What `compute` gives for every place, in order, as JSON has it: lists in place of tuples.

    A batch with one unknown value is computed whole, so that what goes on ends with the same numbers.

    Args:
        batches: places that are computed together; every place is in one of them.
        keys: by place, what its value is made of, see `key_of`.
        cache: where values are looked for and kept; of several processes, the main one's counts.
        finished: told every batch that is there.
    """
    known: dict[str, Any] = parallel.on_main(lambda: cache.get_many(keys) if cache is not None else {})
    for batch in batches:
        if any(keys[at] not in known for at in batch):
            values = compute(batch)
            found = {keys[at]: value for at, value in zip(batch, values, strict=True)}
            if cache is not None and parallel.is_main():
                cache.put_many(found)
            known |= found
        finished(batch)
    return [known[key] for key in keys]


def key_of(what: str, fingerprint: str, *made_of: Any) -> str:
    """Names a value of a model: equal only where the value must be, as `Ask.key` is of answers."""
    return hash_json([CACHE_VERSION, what, fingerprint, *made_of])


def contents(encoded: Encoded) -> list[Any]:
    """What a model sees of a text and its pictures, for a key."""
    return [list(encoded.ids), encoded.num_context, list(encoded.image_keys)]
