"""FADE: how far what one model writes, as a distribution, lies from what another writes behind the same questions.

A reconstruction: the quantity is the paper's, samples a prompt, temperature, length normalisation and clipping are not
published. Nothing is clipped, texts are drawn at temperature 1 (any other estimate would not be of the divergence), and
what is compared are texts of at most so many tokens: a text that is not ended by then counts as what it is so far.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from mmforget.lm.cache import ResponseCache
from mmforget.lm.drawing import Tokens, drawn, totals
from mmforget.lm.engine import ModelEngine
from mmforget.methods.arguments import require_not_negative, require_positive
from mmforget.metrics.base import Quantity
from mmforget.metrics.estimate import mean_estimate
from mmforget.model.encode import Encoded
from mmforget.results.fingerprint import hash_json
from mmforget.types import Estimate, Example, Progress, Score

NOT_FINITE = "one of the models holds a text impossible"


@dataclass(frozen=True)
class Fade:
    """How texts are drawn.

    Args:
        samples: texts of each model behind each question.
        max_new_tokens: the most tokens of a text.
        seed: of what is drawn.
    """

    samples: int = 16
    max_new_tokens: int = 32
    seed: int = 0

    evidence: ClassVar[str] = "reconstruction"

    def __post_init__(self) -> None:
        require_positive(samples=self.samples, max_new_tokens=self.max_new_tokens)
        require_not_negative(seed=self.seed)

    def write(
        self,
        engine: ModelEngine,
        rows: Sequence[Example],
        prompts: Sequence[Encoded],
        *,
        cache: ResponseCache | None = None,
    ) -> list[Tokens]:
        """The texts that a model draws behind all prompts, `samples` of each, one prompt after another."""
        seeds = [self._seed(row, number) for row in rows for number in range(self.samples)]
        most = self.max_new_tokens
        return drawn(engine, self.repeated(prompts), max_new_tokens=most, seeds=seeds, cache=cache)

    def told(
        self,
        engine: ModelEngine,
        prompts: Sequence[Encoded],
        texts: Sequence[Tokens],
        *,
        progress: Progress,
        cache: ResponseCache | None = None,
    ) -> list[float]:
        """The log-prob that a model gives to each text that was drawn behind these prompts, by itself or another."""
        label = "texts that models wrote"
        return totals(engine, self.repeated(prompts), texts, progress=progress, label=label, cache=cache)

    def repeated(self, prompts: Sequence[Encoded]) -> list[Encoded]:
        return [prompt for prompt in prompts for _ in range(self.samples)]

    def _seed(self, row: Example, number: int) -> int:
        return int(hash_json(["fade", self.seed, row.id, number])[:12], 16)


class Drawn(NamedTuple):
    """The texts of one model: their numbers of tokens, and each text's log-prob under that model and the other one."""

    sizes: Sequence[int]
    own: Sequence[float]
    other: Sequence[float]


@dataclass(frozen=True)
class FadeResult:
    """The divergence of two models, of which the second is the one that is compared with, in nats; lower is nearer.

    Attributes:
        total: the sum of both directions, by question, averaged; 0 where both models write alike. It is estimated, so
            that one of models that differ little may lie below 0.
        per_token: the same with each direction divided by the tokens of its texts.
        missing: of the second model's texts, its log-prob less the first one's: what the first no longer writes.
        invented: of the first model's texts, its log-prob less the second one's: what only the first one writes.
        samples: texts of each model behind each question.
    """

    total: Estimate
    per_token: Estimate
    missing: Estimate
    invented: Estimate
    samples: int

    @property
    def numbers(self) -> Mapping[str, Estimate]:
        """What is shown of it, in words."""
        return {
            "total": self.total, "per token": self.per_token, "missing": self.missing, "invented": self.invented,
        }  # fmt: skip


def fade(rows: Sequence[Example], first: Drawn, second: Drawn, *, samples: int) -> FadeResult:
    """The divergence with 95 % intervals by subject of the rows.

    Args:
        first, second: the texts of either model, `samples` behind each row, in the order of the rows.
    """
    missing, invented = (_means(one, samples=samples) for one in (second, first))
    by_token = [_by_token(one, samples=samples) for one in (second, first)]
    found = {
        "total": [sum(pair) for pair in zip(missing, invented, strict=True)],
        "per_token": [sum(pair) for pair in zip(*by_token, strict=True)],
        "missing": missing,
        "invented": invented,
    }
    return FadeResult(**_estimates(rows, found), samples=samples)


def _estimates(rows: Sequence[Example], found: Mapping[str, Sequence[float]]) -> dict[str, Estimate]:
    return {
        name: mean_estimate(
            Quantity(name, (-math.inf, math.inf), higher_is_better=False, profiles=("reconstruction",)),
            [_score(row, one) for row, one in zip(rows, values, strict=True)],
        )
        for name, values in found.items()
    }


def _score(row: Example, value: float) -> Score:
    return Score(value, row.subject) if math.isfinite(value) else Score(None, row.subject, NOT_FINITE)


def _means(texts: Drawn, *, samples: int) -> list[float]:
    """By row, the mean of own less other log-prob."""
    return [one / samples for one in _sums(_differences(texts), samples=samples)]


def _by_token(texts: Drawn, *, samples: int) -> list[float]:
    differences = _sums(_differences(texts), samples=samples)
    sizes = _sums([float(size) for size in texts.sizes], samples=samples)
    return [one / size for one, size in zip(differences, sizes, strict=True)]


def _differences(texts: Drawn) -> list[float]:
    return [own - other for own, other in zip(texts.own, texts.other, strict=True)]


def _sums(values: Sequence[float], *, samples: int) -> list[float]:
    return [math.fsum(values[start : start + samples]) for start in range(0, len(values), samples)]
