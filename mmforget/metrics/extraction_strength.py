"""Extraction strength: how little of an answer has to be given for the model to say the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import OPENUNLEARNING, RATE, Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.tokens import NO_TOKENS, hits
from mmforget.types import Sample, Score


@dataclass(frozen=True)
class ExtractionStrength:
    """1 - k/L, in [0, 1]: k is how many of the true answer's L tokens come before the last one that is missed.

    From there on every token is the most likely one after all true ones before it. 1 = the whole answer, 0 = not even
    its last token.

    Source: OpenUnlearning (arXiv 2506.12618), "extraction strength".

    Profiles:
        openunlearning: without the last token, which is taken for the end of the answer. As coded, the search ends
            before k = L, so that an answer of which nothing is right scores 1/L, as if its last token were; and one
            without tokens is 0.
        clean: all tokens; an answer of which the last token is missed is 0, one without tokens unscored. Mends both.
    """

    name = "extraction_strength"
    kind: ClassVar[Kind] = "prob"
    profiles = {"openunlearning": OPENUNLEARNING, "clean": "mmforget"}
    range = RATE
    higher_is_better = True
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """The strength of one answer."""
        check_profile(self, profile)
        found = hits(sample, profile=profile)
        if found.reason:
            return Score(None, sample.subject, found.reason)
        as_coded = profile == "openunlearning"
        if not found.values:
            return Score(0.0, sample.subject) if as_coded else Score(None, sample.subject, NO_TOKENS)
        length = len(found.values)
        said = max(1, _tail(found.values)) if as_coded else _tail(found.values)
        return Score(said / length, sample.subject)


def _tail(found: Sequence[bool]) -> int:
    """How many tokens from the end are right without a break."""
    return next((place for place, right in enumerate(reversed(found)) if not right), len(found))


METRIC = ExtractionStrength()
