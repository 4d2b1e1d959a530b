"""Fluency as entropy: how varied the pairs and triples of words of an answer are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.responses import words
from mmforget.types import Sample, Score

WEIGHTS = {2: 2 / 3, 3: 4 / 3}
"""By length of the run of words, what its entropy weighs."""
MOST_BITS = 64.0


@dataclass(frozen=True)
class NGramEntropy:
    """(2/3 H2 + 4/3 H3) / 2 of a response, in bits: H2 and H3 are entropies of its pairs and triples of words.

    A loop is near 0; text of n different words has about log2 n. It grows with the length of the answer, so it is read
    at one length: RWKU generates 256 tokens and prints a hundred times as much.

    Source: RWKU (arXiv 2406.10890), fluency.

    Profiles:
        clean: words of any script without case and punctuation; fewer than two are 0. Mends words that only the
            tokenizer of one library knows; against the published numbers, which use it, it is near, not equal.
    """

    name = "ngram_entropy"
    kind: ClassVar[Kind] = "gen"
    profiles = {"clean": "mmforget"}
    range = (0.0, MOST_BITS)
    higher_is_better = True
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """The entropy of one response."""
        check_profile(self, profile)
        if sample.response is None:
            return Score(None, sample.subject, "no response")
        said = words(sample.response)
        total = math.fsum(weight * _entropy(said, length=length) for length, weight in WEIGHTS.items())
        return Score(total / len(WEIGHTS), sample.subject)


def _entropy(said: Sequence[str], *, length: int) -> float:
    """Shannon entropy in bits of the runs of `length` words; 0 where there is none."""
    runs = Counter(zip(*(said[place:] for place in range(length)), strict=False))
    total = sum(runs.values())
    return math.fsum(count / total * math.log2(total / count) for count in runs.values())


METRIC = NGramEntropy()
