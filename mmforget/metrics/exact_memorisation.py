"""Exact memorisation: the share of an answer's tokens that the model itself would have said in their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import OPENUNLEARNING, RATE, Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.tokens import NO_TOKENS, hits
from mmforget.types import Sample, Score


@dataclass(frozen=True)
class ExactMemorisation:
    """Tokens of the true answer that are the most likely ones after all true ones before, over all tokens, in [0, 1].

    Source: OpenUnlearning (arXiv 2506.12618), "exact memorization".

    Profiles:
        openunlearning: without the last token, which is taken for the end of the answer; unscored where none is left.
        clean: all tokens. Mends that an answer loses its last word where nothing marks its end.
    """

    name = "exact_memorisation"
    kind: ClassVar[Kind] = "prob"
    profiles = {"openunlearning": OPENUNLEARNING, "clean": "mmforget"}
    range = RATE
    higher_is_better = True
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """The share of one answer."""
        check_profile(self, profile)
        found = hits(sample, profile=profile)
        if found.reason or not found.values:
            return Score(None, sample.subject, found.reason or NO_TOKENS)
        return Score(sum(found.values) / len(found.values), sample.subject)


METRIC = ExactMemorisation()
