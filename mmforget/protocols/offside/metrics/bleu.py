"""BLEU of the whole response, question by question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import RATE, Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.protocols.offside import overlaps
from mmforget.types import Sample, Score


@dataclass(frozen=True)
class Bleu:
    """BLEU of each answer against its reference, in [0, 1], averaged over questions.

    Source: OFFSIDE (arXiv 2510.22535), BLEU, official evaluation code: NLTK's sentence BLEU.

    Profiles:
        released: NLTK with four-grams, smoothing method 1 and lower-case words of its `word_tokenize`; an empty
            response is left out of the mean. Words are as its tokenizer finds them without the data that it downloads:
            behind an abbreviation that only these know, a full stop is a word of its own.
        clean: sacrebleu (13a words, lower case, effective order); an empty response is 0. Mends the download, the
            four-grams that answers of three words do not have, and that a collapsed model is scored on what is left.
    """

    name = "bleu"
    kind: ClassVar[Kind] = "gen"
    profiles = {"released": "OFFSIDE (arXiv 2510.22535), official code", "clean": "mmforget"}
    range = RATE
    higher_is_better = True
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """BLEU of one response."""
        check_profile(self, profile)
        return overlaps.compared(sample, profile=profile, compare=overlaps.bleu)


METRIC = Bleu()
