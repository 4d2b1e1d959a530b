"""From requests to answers: equal requests once, known answers from the cache, the rest in batches, each one kept.

Batches are planned over all requests of a call, of whichever task, whatever the cache holds, and a batch with one
unknown answer is computed whole: an interrupted run that continues therefore gives the same numbers to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from mmforget import parallel
from mmforget.lm.batching import chunks, generation_batches, group_indices, score_batches
from mmforget.lm.cache import ResponseCache
from mmforget.lm.engine import Engine
from mmforget.lm.requests import Ask, Decoding
from mmforget.model.encode import Encoded
from mmforget.types import TokenScores


@dataclass
class Tally:
    """How many requests were answered, and how many of them from the cache."""

    num_requests: int = 0
    num_cached: int = 0


@dataclass(frozen=True)
class Batch:
    """Requests that are computed together; `encoded` is None for kinds that encode their own way."""

    keys: tuple[str, ...]
    asks: tuple[Ask, ...]
    encoded: tuple[Encoded, ...] | None = None
    max_tokens: int = 0


@dataclass(frozen=True)
class Answerer:
    """Answers requests with a model and a cache.

    Args:
        prefix_token: token that stands before a whole document.
    """

    engine: Engine
    cache: ResponseCache | None
    batch_size: int
    prefix_token: int
    tally: Tally

    def answer(self, asks: Sequence[Ask], *, keep: Callable[[Mapping[int, Any]], None]) -> list[Any]:
        """The answers, in order: TokenScores for kinds `score` and `rolling`, text for `generate`.

        Args:
            keep: called with the answers of each batch as it is finished, by index in `asks`.
        """
        keys = [self._key(ask, index) for index, ask in enumerate(asks)]
        indices: dict[str, list[int]] = {}
        for index, key in enumerate(keys):
            indices.setdefault(key, []).append(index)
        answers: dict[str, Any] = {}
        for found in self._answers({key: asks[own[0]] for key, own in indices.items()}):
            answers.update(found)
            keep({index: found[key] for key in found for index in indices[key]})
        self.tally.num_requests += len(asks)
        return [answers[key] for key in keys]

    def _key(self, ask: Ask, index: int) -> str:
        key = ask.key(self.engine.loaded.fingerprint)
        return key if ask.is_repeatable else f"{key}#{index}"

    def _answers(self, asks: Mapping[str, Ask]) -> Iterator[dict[str, Any]]:
        stored = self._stored(asks)
        if len(stored) == len(asks):
            self.tally.num_cached += len(asks)
            yield stored
            return
        # Before the first is computed: a row that does not fit the model ends this before any work is done.
        batches = list(self._plan(asks))
        waiting: list[Batch] = []
        for batch in batches:
            if all(key in stored for key in batch.keys):
                self.tally.num_cached += len(batch.keys)
                yield {key: stored[key] for key in batch.keys}
                continue
            waiting.append(batch)
            if len(waiting) == parallel.world_size():
                yield self._finish(waiting, asks=asks)
                waiting = []
        if waiting:
            yield self._finish(waiting, asks=asks)

    def _finish(self, batches: Sequence[Batch], *, asks: Mapping[str, Ask]) -> dict[str, Any]:
        """The answers of at most as many batches as there are processes, of which each computes one; all stored."""
        rank = parallel.rank()
        computed = parallel.gather(self._compute(batches[rank]) if rank < len(batches) else [])
        found = {
            key: answer
            for batch, answers in zip(batches, computed, strict=False)
            for key, answer in zip(batch.keys, answers, strict=True)
        }
        self._store(found, asks=asks)
        return found

    def _stored(self, asks: Mapping[str, Ask]) -> dict[str, Any]:
        """What the main process's cache knows, in every process: which batches are computed must be the same in all."""
        wanted = [key for key, ask in asks.items() if ask.is_repeatable]
        known = parallel.on_main(lambda: self.cache.get_many(wanted) if self.cache is not None else {})
        return {key: _from_json(value) for key, value in known.items()}

    def _store(self, found: Mapping[str, Any], *, asks: Mapping[str, Ask]) -> None:
        if self.cache is not None and parallel.is_main():
            self.cache.put_many({key: _to_json(value) for key, value in found.items() if asks[key].is_repeatable})

    def _plan(self, asks: Mapping[str, Ask]) -> Iterator[Batch]:
        for kind, compute in (
            ("score", self._plan_scores),
            ("generate", self._plan_generations),
            ("rolling", self._plan_rolling),
        ):
            of_kind = {key: ask for key, ask in asks.items() if ask.kind == kind}
            if of_kind:
                yield from compute(of_kind)

    def _plan_scores(self, asks: Mapping[str, Ask]) -> Iterator[Batch]:
        encoded = {key: self.engine.encode(ask) for key, ask in asks.items()}
        plan = score_batches(list(encoded.values()), batch_size=self.batch_size, packed=self.engine.shares)
        for indices in plan.indices:
            yield _batch(asks, indices=indices, encoded=encoded, max_tokens=plan.max_tokens)

    def _plan_generations(self, asks: Mapping[str, Ask]) -> Iterator[Batch]:
        encoded = {key: self.engine.encode(ask) for key, ask in asks.items()}
        prompts = list(encoded.values())
        decodings = [ask.decoding for ask in asks.values()]
        for indices in group_indices(decodings):
            decoding = cast("Decoding", decodings[indices[0]])
            planned = generation_batches(
                [prompts[index] for index in indices],
                max_new_tokens=decoding.max_new_tokens,
                batch_size=self.batch_size,
                packed=self.engine.continues_together(decoding),
            )
            for batch in planned:
                yield _batch(asks, indices=[indices[number] for number in batch], encoded=encoded)

    def _plan_rolling(self, asks: Mapping[str, Ask]) -> Iterator[Batch]:
        for batch in chunks(range(len(asks)), size=self.batch_size):
            yield _batch(asks, indices=batch)

    def _compute(self, batch: Batch) -> list[Any]:
        first = batch.asks[0]
        if batch.encoded is None:
            texts = [ask.continuation or "" for ask in batch.asks]
            return list(self.engine.rolling(texts, prefix_token=self.prefix_token, batch_size=self.batch_size))
        if first.decoding is not None:
            return list(self.engine.generate(batch.encoded, decoding=first.decoding))
        return list(self.engine.score(batch.encoded, max_tokens=batch.max_tokens))


def _batch(
    asks: Mapping[str, Ask],
    *,
    indices: Sequence[int],
    encoded: Mapping[str, Encoded] | None = None,
    max_tokens: int = 0,
) -> Batch:
    listed = list(asks)
    keys = tuple(listed[index] for index in indices)
    chosen = None if encoded is None else tuple(encoded[key] for key in keys)
    return Batch(keys, tuple(asks[key] for key in keys), chosen, max_tokens)


def _to_json(answer: Any) -> Any:
    return [list(answer.token_logprobs), answer[1]] if isinstance(answer, TokenScores) else answer


def _from_json(value: Any) -> Any:
    return value if isinstance(value, str) else TokenScores(tuple(value[0]), value[1])
