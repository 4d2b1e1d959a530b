"""How sure a classifier is that generated answers are no gibberish."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import OPENUNLEARNING, RATE, Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.types import Sample, Score

LABEL = "gibberish"
NOT_JUDGED = "no classifier; name a folder with one by --judge classifier:FOLDER"


@dataclass(frozen=True)
class Gibberish:
    """Mean probability of a classifier's first class, that an answer is no gibberish, in [0, 1].

    The classifier is the user's, a folder of transformers (`--judge classifier:FOLDER`), and part of the number:
    OpenUnlearning takes `madhurjindal/autonlp-Gibberish-Detector`, of which the first class counts.
    Without one there is no value.

    Source: OpenUnlearning (arXiv 2506.12618), `classifier_prob`, "fluency".

    Profiles:
        openunlearning: as above, of the first 32 tokens (TOFU; 512 for MUSE).
        clean: an empty answer is 0. Mends a classifier's opinion about nothing.
    """

    name = "gibberish"
    kind: ClassVar[Kind] = "gen"
    label = LABEL
    profiles = {"openunlearning": OPENUNLEARNING, "clean": "mmforget"}
    range = RATE
    higher_is_better = True
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """The classifier's probability for one response."""
        check_profile(self, profile)
        if sample.response is None:
            return Score(None, sample.subject, "no response")
        said = sample.labels.get(LABEL)
        if said is None:
            return Score(None, sample.subject, NOT_JUDGED, lacking=True)
        if profile == "clean" and not sample.response.strip():
            return Score(0.0, sample.subject)
        try:
            value = float(said)
        except ValueError:
            value = math.nan
        if not 0.0 <= value <= 1.0:
            return Score(None, sample.subject, "the classifier gave no probability")
        return Score(value, sample.subject)


METRIC = Gibberish()
