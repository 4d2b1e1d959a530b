"""Mode connectivity: what a model on the way between two others loses of what is kept, and gives back of what is not.

Source: mode connectivity in unlearning (MCU). Barriers and the condition are standard; how the curve's control point is
learned is not published, and is a reconstruction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

from mmforget import parallel
from mmforget.errors import UserError
from mmforget.lm.cache import ResponseCache
from mmforget.lm.engine import ModelEngine
from mmforget.lm.kept import Batch, contents, in_batches, key_of
from mmforget.methods.arguments import require_not_negative, require_positive
from mmforget.metrics.base import Quantity
from mmforget.metrics.estimate import mean_estimate, no_estimate
from mmforget.model.encode import Encoded
from mmforget.model.line import Line
from mmforget.model.loaded import LoadedModel
from mmforget.model.vision import FeatureCache
from mmforget.results.fingerprint import hash_json
from mmforget.training.bending import Bending, bent
from mmforget.types import Estimate, Progress, Score

LEAST_POINTS = 3
UNEQUAL = "a place of the path holds an answer impossible"


@dataclass(frozen=True)
class ModeConnectivity(Bending):
    """How a path is walked; what `bezier` learns is a `Bending`, whose arguments it takes.

    Args:
        curve: `linear`, the straight path, or `bezier`, a quadratic curve through a point that is learned.
        points: places that are looked at, both ends among them.
    """

    curve: Literal["linear", "bezier"] = "linear"
    points: int = 11

    def __post_init__(self) -> None:
        require_positive(updates=self.updates, lr=self.lr, batch_size=self.batch_size, r=self.r)
        require_not_negative(forget_weight=self.forget_weight, seed=self.seed)
        if self.points < LEAST_POINTS:
            raise UserError(f"points={self.points} leave nothing between both ends; give at least {LEAST_POINTS}")

    @property
    def evidence(self) -> str:
        return "exact" if self.curve == "linear" else "reconstruction"

    @property
    def places(self) -> tuple[float, ...]:
        """From 0 to 1, evenly."""
        return tuple(number / (self.points - 1) for number in range(self.points))


class Rows(NamedTuple):
    """Questions with their answers, and the subject of each."""

    encoded: Sequence[Encoded]
    subjects: Sequence[str]


Losses = Sequence[Sequence[float]]
"""By place and row, the mean negative log-prob of an answer's tokens."""


@dataclass(frozen=True)
class Barrier:
    """A path on one set of rows.

    Attributes:
        losses: by place, the mean loss.
        height: the most by which the loss lies beyond the straight line between those of both ends: above it on rows to
            keep, below it on rows to forget; at least 0, which both ends have. The 95 % interval, by subject, goes from
            the lower bound of the place where it is most to the highest upper bound of any place.
        excess: by how much the loss goes beyond that of both ends at the place where it does most, in the same
            direction: the smallest epsilon with which the condition of the paper holds on this set.
    """

    losses: tuple[float, ...]
    height: Estimate
    excess: float | None


@dataclass(frozen=True)
class PathResult:
    """A path between two models, in nats a token.

    Attributes:
        places: from 0, the first model, to 1, the second.
        retain, forget: on the rows of either set.
    """

    curve: str
    evidence: str
    places: tuple[float, ...]
    retain: Barrier
    forget: Barrier

    @property
    def numbers(self) -> Mapping[str, Estimate]:
        """What is shown of it, in words."""
        return {"barrier on retain rows": self.retain.height, "barrier on forget rows": self.forget.height}


HEIGHT = Quantity("barrier", (-math.inf, math.inf), higher_is_better=False, profiles=("clean",))


def walked(
    line: Line,
    *,
    how: ModeConnectivity,
    retain: Rows,
    forget: Rows,
    batch_size: int,
    progress: Progress,
    cache: ResponseCache | None = None,
) -> PathResult:
    """Goes along the path; afterwards the line's model is somewhere on it.

    Args:
        cache: where losses are kept, place by place. A bent path is bent again where one of its places is not there.
    """
    features = None if line.changes_images else FeatureCache()
    own = {"retain": retain.encoded, "forget": forget.encoded}
    keys = _keys(line, how=how, rows=own)
    is_known = parallel.on_main(lambda: cache is not None and len(cache.get_many(keys)) == len(keys))

    def walk(go: Callable[[float], LoadedModel]) -> list[Any]:
        def look(batch: Batch) -> list[list[list[float]]]:
            (number,) = batch
            engine = ModelEngine(go(how.places[number]), batch_size=batch_size, features=features)
            return [[_losses(engine, rows) for rows in (retain, forget)]]

        def finished(batch: Batch) -> None:
            progress(batch[0] + 1, how.points, f"{how.curve} path")

        batches = [(number,) for number in range(how.points)]
        return in_batches(look, batches=batches, keys=keys, cache=cache, finished=finished)

    if how.curve == "linear" or is_known:
        found = walk(line.go)
    else:
        with bent(line, **own, settings=how, progress=progress) as go:
            found = walk(go)
    kept, gone = zip(*found, strict=True)
    return PathResult(
        how.curve, how.evidence, how.places,
        retain=barrier(kept, places=how.places, subjects=retain.subjects, sign=1),
        forget=barrier(gone, places=how.places, subjects=forget.subjects, sign=-1),
    )  # fmt: skip


def _keys(line: Line, *, how: ModeConnectivity, rows: Mapping[str, Sequence[Encoded]]) -> list[str]:
    """By place, what its losses are made of: those of the straight path do not depend on what bends a curve."""
    curve = None if how.curve == "linear" else {k: v for k, v in asdict(how).items() if k != "points"}
    texts = hash_json({name: list(map(contents, own)) for name, own in rows.items()})
    return [key_of("path", line.fingerprint, repr(place), curve, texts) for place in how.places]


def _losses(engine: ModelEngine, rows: Rows) -> list[float]:
    scores = [
        one for at in range(0, len(rows.encoded), 256) for one in engine.score_encoded(rows.encoded[at : at + 256])
    ]
    return [-one[0] / len(one.token_logprobs) for one in scores]


def barrier(losses: Losses, *, places: Sequence[float], subjects: Sequence[str], sign: Literal[1, -1]) -> Barrier:
    """The barrier of a path from the loss of every row at every place.

    Args:
        sign: 1 where a higher loss is in the way, on rows to keep; -1 where a lower one is, on rows to forget.
    """
    means = tuple(math.fsum(one) / len(one) for one in losses)
    if not all(math.isfinite(loss) for row in losses for loss in row):
        return Barrier(means, no_estimate(HEIGHT, reasons=(UNEQUAL,)), None)
    gaps = [_gap(losses, number, place, subjects=subjects, sign=sign) for number, place in enumerate(places)]
    highest = max(gaps, key=lambda one: one.value or 0.0)
    height = replace(highest, value=max(0.0, highest.value or 0.0))
    if highest.low is not None and highest.high is not None:
        most = max(one.high for one in gaps if one.high is not None)
        height = replace(height, low=max(0.0, highest.low), high=max(0.0, most))
    ends = [sign * means[0], sign * means[-1]]
    excess = max(0.0, max(sign * mean for mean in means) - max(ends))
    return Barrier(means, height, excess)


def _gap(losses: Losses, number: int, place: float, *, subjects: Sequence[str], sign: Literal[1, -1]) -> Estimate:
    """By how much the losses at a place lie beyond the straight line between those of both ends, with its interval."""
    rows = zip(losses[number], losses[0], losses[-1], subjects, strict=True)
    scores = [Score(sign * (own - (1.0 - place) * first - place * last), name) for own, first, last, name in rows]
    return mean_estimate(HEIGHT, scores)
