"""What is read off the gradients of rows before training: where adapters begin, what trains, how much a row counts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from mmforget import parallel
from mmforget.errors import UserError
from mmforget.methods.requests import FORGET, RETAIN, Influence
from mmforget.model.changed_layers import Change, change_layers
from mmforget.model.encode import Encoded
from mmforget.model.first_factors import Factors, begin_at, require_gradients, weights_below
from mmforget.model.loaded import LoadedModel
from mmforget.model.row_gradients import influences, mean_squares
from mmforget.types import Scored

logger = logging.getLogger(__name__)


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
    _require_one_process()
    require_gradients(score.loaded)
    if RETAIN not in rows:
        raise UserError(
            "this method compares with rows to keep, and there are none; give a benchmark with a retain set"
        )
    weights = weights_below(score.loaded)
    squares = {
        source: mean_squares(score.loaded, rows[source].encoded, weights=weights, score=score)
        for source in (FORGET, RETAIN)
    }
    begin_at(score.loaded, factors, squares=squares)


def change_adapters(loaded: LoadedModel, change: Change, *, has_adapters: bool) -> None:
    """Makes the adapters of feed-forward layers add what the method says. Raises UserError where there are none."""
    if not has_adapters:
        raise UserError("this method changes what adapters add to weights; train with LoRA (--lora_r 8)")
    names = change_layers(loaded, change)
    logger.info("the adapters of %d feed-forward layers add what the method makes of their factors", len(names))


def trained_parts(
    score: Score,
    part: Callable[[Mapping[str, Tensor]], Tensor],
    *,
    rows: Mapping[str, Any],
    sources: Collection[str],
    within: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Which elements of each weight train, bool of its shape, by the squared gradients of all rows of these sources.

    Args:
        within: by weight, which of its elements may train at all; of a weight without one all may.

    Raises UserError where there are none, and among several processes.
    """
    _require_one_process()
    weights = score.loaded.trainable()
    squares = {
        source: mean_squares(score.loaded, rows[source].encoded, weights=weights, score=score) for source in sources
    }
    found = {name: part({source: one[name] for source, one in squares.items()}) for name in weights}
    found = {name: mask & within[name] if name in within else mask for name, mask in found.items()}
    num, total = (sum(int(one.sum()) for one in found.values()), sum(one.numel() for one in found.values()))
    if not num:
        raise UserError("this method trains only some of the weights, and found none; see what it finds them by")
    logger.info("%d of %d weights train (%.1f %%), and none decays", num, total, 100 * num / total)
    return found


def row_weights(
    score: Score, request: Influence, kind: Callable[[Tensor], Tensor], *, rows: Mapping[str, Any]
) -> Tensor:
    """What an influence request comes to for all rows of its source, by its `kind`: float32 [N], on the CPU.

    Raises UserError for quantised weights and among several processes.
    """
    _require_one_process()
    found = influences(
        score.loaded, rows[request.source].encoded, from_depth=request.from_depth, damping=request.damping, score=score
    )
    return kind(found)


def _require_one_process() -> None:
    if parallel.world_size() > 1:
        raise UserError("this method looks at gradients of all rows before it trains, in one process; start one")
