"""Answers about subjects who differ: every rate has a known mean, and models and metrics share the subjects.

C subjects, N questions. Rates of subjects are beta with a mean (the truth) and a correlation between two answers about
one subject (the intraclass correlation); a normal copula makes a person who is hard for one model hard for another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import beta

from mmforget.statistics.jackknife import mean_replicates
from mmforget.types import Replicates

Floats = NDArray[np.float64]
Kind = Literal["right or wrong", "ROUGE-like"]
GRID = ndtr(np.linspace(-6.0, 6.0, 2401))
PERSON, MODEL = 0.5, 0.3
"""Shares of a rate's variance, on the scale of the copula: what all models share, what all metrics of a model share."""
PRECISION = 3.0
"""Of the beta distribution of ROUGE-like scores around a subject's rate."""


@dataclass(frozen=True)
class People:
    """Who is asked about, and how often.

    Attributes:
        latent: float64 [C], what all models share.
        sizes: int [C], questions about each.
        prefix: of their names, to tell sets apart.
    """

    latent: Floats
    sizes: NDArray[np.int64]
    prefix: str = "p"

    @property
    def subjects(self) -> list[str]:
        """The subject of each question [N]."""
        return np.repeat([f"{self.prefix}{index}" for index in range(len(self.sizes))], self.sizes).tolist()


def people(
    generator: np.random.Generator, num: int, *, questions: int = 20, unequal: bool = False, prefix: str = "p"
) -> People:
    """C subjects with as many questions each, or with 2 to 2 `questions` - 1 of them."""
    sizes = generator.integers(2, 2 * questions, size=num) if unequal else np.full(num, questions)
    return People(generator.standard_normal(num), sizes, prefix)


def model_latent(generator: np.random.Generator, who: People) -> Floats:
    """What all metrics of one more model share, standard normal [C]."""
    return math.sqrt(PERSON) * who.latent + math.sqrt(MODEL) * generator.standard_normal(len(who.latent))


def answers(
    generator: np.random.Generator,
    who: People,
    level: float,
    *,
    correlation: float = 0.2,
    kind: Kind = "right or wrong",
    model: Floats | None = None,
    shift: float = 0.0,
) -> Replicates:
    """The mean of one model's scores with its replicates; `level` is what it estimates.

    Args:
        model: from `model_latent`, where several metrics are of one model.
        shift: added to all rates, which are then cut off at 0 and 1: the luck of one training.
    """
    shared = model_latent(generator, who) if model is None else model
    own = math.sqrt(1.0 - PERSON - MODEL) * generator.standard_normal(len(who.latent))
    rates = np.repeat(np.clip(_rates(ndtr(shared + own), level, correlation) + shift, 0.0, 1.0), who.sizes)
    return mean_replicates(_scores(generator, rates, kind=kind).tolist(), who.subjects)


def normals(generator: np.random.Generator, who: People, *, mean: Floats, shared: float = 0.2) -> list[float]:
    """Scores [N] without bounds around means [N], of variance 1, a `shared` part of it the subject's and half of that
    all models'."""
    person = math.sqrt(shared / 2) * who.latent + math.sqrt(shared / 2) * generator.standard_normal(len(who.latent))
    rest = math.sqrt(1.0 - shared) * generator.standard_normal(int(who.sizes.sum()))
    values: list[float] = (mean + np.repeat(person, who.sizes) + rest).tolist()
    return values


def _scores(generator: np.random.Generator, rates: Floats, *, kind: Kind) -> Floats:
    if kind == "right or wrong":
        return (generator.random(rates.size) < rates).astype(np.float64)
    inner = np.clip(rates, 1e-6, 1.0 - 1e-6)
    return generator.beta(PRECISION * inner, PRECISION * (1.0 - inner))


def _rates(uniform: Floats, level: float, correlation: float) -> Floats:
    return np.interp(uniform, GRID, _quantiles(level, correlation))


@cache
def _quantiles(level: float, correlation: float) -> Floats:
    total = (1.0 - correlation) / correlation
    found: Floats = beta.ppf(GRID, level * total, (1.0 - level) * total)
    return found


def average(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
