"""Where adapters begin, for a method that does not want them to begin at nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from mmforget import parallel
from mmforget.errors import UserError
from mmforget.methods.requests import FORGET, RETAIN
from mmforget.model.encode import Encoded
from mmforget.model.first_factors import Factors, begin_at, mean_squares, require_gradients
from mmforget.model.loaded import LoadedModel
from mmforget.types import Scored


class Score(Protocol):
    """A model and how it scores."""

    @property
    def loaded(self) -> LoadedModel: ...
    def __call__(self, encoded: Sequence[Encoded]) -> Scored: ...


def begin_adapters(
    score: Score, factors: Callable[..., Factors], *, rows: Mapping[str, Any], has_adapters: bool
) -> None:
    """Puts adapters where the method wants them, by the squared gradients of all rows to forget and to keep.

    Raises UserError where there are no adapters, no gradients or no rows to keep, and among several processes.
    """
    if not has_adapters:
        raise UserError("this method begins with adapters of its own; train with LoRA (--lora_r 8)")
    if parallel.world_size() > 1:
        raise UserError("this method looks at gradients of all rows before it trains, in one process; start one")
    require_gradients(score.loaded)
    if RETAIN not in rows:
        raise UserError(
            "this method compares with rows to keep, and there are none; give a benchmark with a retain set"
        )
    squares = {source: mean_squares(score.loaded, rows[source].encoded, score=score) for source in (FORGET, RETAIN)}
    begin_at(score.loaded, factors, squares=squares)
