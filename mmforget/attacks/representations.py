"""Hidden states of every question with its answer are kept, so that models can be compared by them."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, ClassVar, Literal

from mmforget.asking import Depth
from mmforget.benchmark.document import MetricName
from mmforget.metrics.representations import SHARES

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Representations:
    """States at a quarter, a half, three quarters and all of the depth, of the places that predict the answer's tokens.

    It looks for no answer: `cka` and `knn_overlap` compare what is kept with target and retain model.

    Source: UUEF ("Are we truly forgetting"), there of classifiers of images.

    Args:
        pool: what is kept of an answer's places: their `mean`, or the `last` one.
    """

    pool: Literal["mean", "last"] = "mean"

    access: ClassVar[Literal["hidden"]] = "hidden"
    modality: ClassVar[Literal["any"]] = "any"
    label: ClassVar[str] = "representations"
    kinds: ClassVar[tuple[str, ...]] = ("gen",)
    budget: ClassVar[int] = 1
    cost: ClassVar[str] = "one forward pass of a question and its answer, and four states of it on disk"
    metrics: ClassVar[tuple[MetricName, ...]] = (
        MetricName("cka"),
        MetricName("cka", {"to": "target"}),
        MetricName("knn_overlap"),
        MetricName("knn_overlap", {"to": "target"}),
    )

    def depths(self, num_layers: int) -> tuple[Depth, ...]:
        """In the order of the shares; of few layers some are named twice."""
        return tuple(Depth(ceil(float(share) * num_layers) - 1) for share in SHARES)

    def keep(self, states: Tensor) -> dict[str, Tensor]:
        """By share of the depth a state [H], of states [D, T, H]."""
        found = states.mean(dim=1) if self.pool == "mean" else states[:, -1]
        return dict(zip(SHARES, found, strict=True))


ATTACK = Representations
