"""From requests to answers: equal requests once, known answers from the cache, the rest in batches, each one kept.

Batches are planned over all requests of a call, of whichever task, whatever the cache holds, and a batch with one
unknown answer is computed whole: an interrupted run that continues therefore gives the same numbers to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmforget import parallel
from mmforget.asking import Ask, Engine
from mmforget.lm.cache import ResponseCache
from mmforget.types import NoScores, NoText, TokenScores


@dataclass
class Tally:
    """How many requests were answered, and how many of them from the cache."""

    num_requests: int = 0
    num_cached: int = 0


@dataclass(frozen=True)
class AskBatch:
    """Requests of one kind that are computed together."""

    keys: tuple[str, ...]
    asks: tuple[Ask, ...]


@dataclass(frozen=True)
class Answerer:
    """Answers requests with an engine and a cache."""

    engine: Engine
    cache: ResponseCache | None
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
        named = getattr(self.engine, "fingerprint_of", None)
        key = ask.key(self.engine.fingerprint if named is None else named(ask))
        return key if ask.is_repeatable else f"{key}#{index}"

    def _answers(self, asks: Mapping[str, Ask]) -> Iterator[dict[str, Any]]:
        stored = self._stored(asks)
        if len(stored) == len(asks):
            self.tally.num_cached += len(asks)
            yield stored
            return
        # Before the first is computed: a row that does not fit the model ends this before any work is done.
        batches = list(self._plan(asks))
        waiting: list[AskBatch] = []
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

    def _finish(self, batches: Sequence[AskBatch], *, asks: Mapping[str, Ask]) -> dict[str, Any]:
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

    def _plan(self, asks: Mapping[str, Ask]) -> Iterator[AskBatch]:
        for kind in ("score", "generate", "rolling"):
            of_kind = [key for key, ask in asks.items() if ask.kind == kind]
            for indices in self.engine.batches([asks[key] for key in of_kind]) if of_kind else ():
                keys = tuple(of_kind[index] for index in indices)
                yield AskBatch(keys, tuple(asks[key] for key in keys))

    def _compute(self, batch: AskBatch) -> list[Any]:
        kind = batch.asks[0].kind
        if kind == "rolling":
            return list(self.engine.roll(batch.asks))
        return list(self.engine.generate(batch.asks) if kind == "generate" else self.engine.score(batch.asks))


def _to_json(answer: Any) -> Any:
    if isinstance(answer, NoScores | NoText):
        return {"kind": "text" if isinstance(answer, NoText) else "scores", "reason": answer.reason}
    if not isinstance(answer, TokenScores):
        return answer
    return [list(answer.token_logprobs), answer[1], {name: list(told) for name, told in answer.values.items()}]


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        return (NoText if value["kind"] == "text" else NoScores)(value["reason"])
    if isinstance(value, str):
        return value
    return TokenScores(tuple(value[0]), value[1], {name: tuple(told) for name, told in value[2].items()})
