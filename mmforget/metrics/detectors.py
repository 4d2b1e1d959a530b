"""Membership detectors by name: what each makes of members and non-members.

All but `image_swap` read one pass over the answers.

The kinds are those of TDDBench (arXiv 2411.03363) as far as they can be carried over to answers of many tokens: its
metric-based ones read a model alone, its reference-based ones the retain model beside it, its learned ones train a
classifier. Left out are those that need label-only queries, a quantile regression or planted canaries, and those that
put rows in the same order as one that is here: with one reference model RMIA is the attack with a reference model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from mmforget.metrics.membership import (
    REFERENCE,
    STATISTICS,
    Scoring,
    confidence_score,
    correctness_score,
    entropy_score,
    image_swap_score,
    lira_score,
    loss_score,
    lowest_score,
    min_k_pp_score,
    min_k_score,
    neighbour_score,
    ratio_score,
    reference_score,
    zlib_score,
)
from mmforget.metrics.tokens import answer_tokens
from mmforget.statistics.logistic import learned
from mmforget.types import Sample, Score

Name = Literal[
    "loss", "confidence", "lowest", "entropy", "correctness", "zlib", "min_k", "min_k_pp", "neighbour",
    "reference", "lira", "ratio", "learned", "learned_reference", "image_swap",
]  # fmt: skip
WITH_SWAPPED = ("image_swap",)
"""Those that read every answer once more, behind another subject's pictures."""
NAMES: tuple[str, ...] = tuple(name for name in get_args(Name) if name not in WITH_SWAPPED)
"""Those of one pass over the answers."""
WITH_REFERENCE = ("reference", "lira", "ratio", "learned_reference")
WITH_STATISTICS = ("entropy", "min_k_pp")
LEAST_LOGPROB = -50.0
"""What an impossible token counts as where a classifier reads it."""
TOO_FEW = "too few subjects to learn a classifier on half of them"

Floats = NDArray[np.float64]


class Scores(NamedTuple):
    """One score for each sample, in order."""

    members: list[Score]
    others: list[Score]


Detector = Callable[[Sequence[Sample], Sequence[Sample]], Scores]


def detector(name: str, *, percent: int = 20) -> Detector:
    """The detector of a name.

    Args:
        percent: K of `min_k` and `min_k_pp`.
    """
    if name in ("learned", "learned_reference"):
        return partial(_learned, with_reference=name in WITH_REFERENCE)
    return partial(_each, score=_scorings(percent)[name])


def statistics_of(name: str) -> tuple[str, ...]:
    """The token statistics that a detector reads."""
    return STATISTICS if name in WITH_STATISTICS else ()


def _scorings(percent: int) -> Mapping[str, Scoring]:
    return {
        "loss": loss_score,
        "confidence": confidence_score,
        "lowest": lowest_score,
        "entropy": entropy_score,
        "correctness": correctness_score,
        "zlib": zlib_score,
        "min_k": partial(min_k_score, percent=percent, profile="clean"),
        "min_k_pp": partial(min_k_pp_score, percent=percent, profile="clean"),
        "neighbour": neighbour_score,
        "reference": reference_score,
        "lira": lira_score,
        "ratio": ratio_score,
        "image_swap": image_swap_score,
    }


def _each(members: Sequence[Sample], others: Sequence[Sample], *, score: Scoring) -> Scores:
    return Scores([score(sample) for sample in members], [score(sample) for sample in others])


# -- classifiers -------------------------------------------------------------------------------------------------------


def halves(samples: Sequence[Sample]) -> list[int]:
    """Which half each sample's subject is in, 0 or 1: every second one by name."""
    places = {name: place % 2 for place, name in enumerate(sorted({sample.subject for sample in samples}))}
    return [places[sample.subject] for sample in samples]


def _learned(members: Sequence[Sample], others: Sequence[Sample], *, with_reference: bool) -> Scores:
    """What a classifier that learned on half of the subjects says of the other half, as the share of that half that it
    takes rather for a non-member: two classifiers' log-odds are on scales of their own."""
    samples = [*members, *others]
    features = [_features(sample, with_reference=with_reference) for sample in samples]
    half = np.array([*halves(members), *halves(others)], dtype=int)
    is_member = np.arange(len(samples)) < len(members)
    told = np.array([not isinstance(one, str) for one in features], dtype=bool)
    found: list[Score] = [Score(None, s.subject, str(f)) for s, f in zip(samples, features, strict=True)]
    for own in (0, 1):
        taught, asked = told & (half != own), told & (half == own)
        places = np.flatnonzero(asked)
        if not taught[is_member].any() or not taught[~is_member].any():
            for place in places:
                found[place] = Score(None, samples[place].subject, TOO_FEW)
            continue
        classifier = learned(_rows(features, taught), is_member[taught])
        shares = _shares(classifier.log_odds(_rows(features, asked))) if len(places) else ()
        for place, share in zip(places, shares, strict=True):
            found[place] = Score(float(share), samples[place].subject)
    return Scores(found[: len(members)], found[len(members) :])


def _rows(features: Sequence[Sequence[float] | str], chosen: NDArray[np.bool_]) -> Floats:
    return np.array([one for one, is_chosen in zip(features, chosen, strict=True) if is_chosen], dtype=np.float64)


def _shares(values: Floats) -> Floats:
    from scipy.stats import rankdata

    shares: Floats = rankdata(values) / len(values)
    return shares


def _features(sample: Sample, *, with_reference: bool) -> list[float] | str:
    """Of an answer: mean, lowest and spread of its tokens' log-probs and their mean probability; likewise under the
    reference model and of the difference. A text says why there are none."""
    tokens = answer_tokens(sample, profile="clean")
    if tokens.reason:
        return tokens.reason
    own = _clipped(tokens.values)
    if not with_reference:
        return _summary(own)
    told = sample.token_logprobs.get(REFERENCE)
    if not told or len(told) != len(own) or any(math.isnan(value) for value in told):
        return "reference: no log-probs of the same tokens"
    other = _clipped(told)
    return [*_summary(own), *_summary(other), *_summary(own - other)[:3]]


def _clipped(values: Sequence[float]) -> Floats:
    return np.clip(np.asarray(values, dtype=np.float64), LEAST_LOGPROB, 0.0)


def _summary(values: Floats) -> list[float]:
    return [float(values.mean()), float(values.min()), float(values.std()), float(np.exp(values).mean())]
