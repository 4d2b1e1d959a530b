"""Number of different words in all answers together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import Kind, Other, check_profile
from mmforget.metrics.estimate import no_estimate, unscored_reasons
from mmforget.metrics.responses import words
from mmforget.types import Estimate, Sample, Score

MOST = 1e6


@dataclass(frozen=True)
class UniqueWords:
    """How many different words all answers of a set hold together; a count, not a rate, and it grows with the set.

    Read it beside the target model's: a model that always says "No" has one, gibberish may have many.

    Source: MMUBench (arXiv 2405.12523), "Diversity" as the paper's text describes it; the official script computes
    `diversity`.

    Profiles:
        paper: words of any script, without case and punctuation.
    """

    name = "unique_words"
    kind: ClassVar[Kind] = "gen"
    other: ClassVar[Other] = "itself"
    profiles = {"paper": "MMUBench (arXiv 2405.12523)"}
    range = (0.0, MOST)
    higher_is_better = True

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "paper") -> Estimate:
        """The count over `samples`, without an interval: resampled subjects would hold fewer words by themselves."""
        check_profile(self, profile)
        told = [sample.response for sample in samples if sample.response is not None]
        reasons = unscored_reasons(
            [Score(None if s.response is None else 0.0, s.subject, "no response") for s in samples]
        )
        num_unscored = len(samples) - len(told)
        if not told:
            return no_estimate(self, reasons=reasons or ("no samples",), num_unscored=num_unscored)
        return Estimate(
            value=min(MOST, float(len({word for text in told for word in words(text)}))),
            num_scored=len(told),
            num_unscored=num_unscored,
            higher_is_better=self.higher_is_better,
            range=self.range,
            constant=len(told) > 1 and len(set(told)) == 1,
            reasons=reasons,
        )


METRIC = UniqueWords()
