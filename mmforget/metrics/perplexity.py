"""Perplexity of whole documents, per word, byte or token."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from mmforget.metrics.base import Kind, Other, check_profile
from mmforget.metrics.estimate import is_constant, no_estimate, unscored_reasons
from mmforget.metrics.logprobs import NOT_FINITE
from mmforget.statistics.jackknife import derived, interval, mean_replicates
from mmforget.types import Estimate, Sample, Score

MOST = 1e300
MOST_NATS = 1e9
"""Loss of a document that the model holds impossible."""
ENDLESS = (-math.inf, math.inf)


@dataclass(frozen=True)
class Perplexity:
    """exp(-sum of all log-likelihoods / sum of all words) over the documents of a set, at least 1.

    Long documents weigh more; the mean over documents of their tokens' likelihood is `probability`.

    Source: lm_eval, `loglikelihood_rolling`: `word_perplexity` and `byte_perplexity`.

    Args:
        per: the unit: `word` (parted by blanks), `byte` (of UTF-8; its log2 is lm_eval's `bits_per_byte`) or `token`.

    Profiles:
        clean: as lm_eval has it. Mends that one document with a log-prob that is no number leaves no value at all: it
            is left unscored.
    """

    per: Literal["word", "byte", "token"] = "word"

    name = "perplexity"
    kind: ClassVar[Kind] = "roll"
    other: ClassVar[Other] = "itself"
    profiles = {"clean": "lm_eval 0.4.13"}
    range = (1.0, MOST)
    higher_is_better = False

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        """The perplexity over `samples`, with an interval over subjects."""
        check_profile(self, profile)
        faults = [_fault(sample) for sample in samples]
        reasons = unscored_reasons(
            [Score(None if f else 0.0, s.subject, f) for s, f in zip(samples, faults, strict=True)]
        )
        sound = [sample for sample, fault in zip(samples, faults, strict=True) if not fault]
        num_unscored = len(samples) - len(sound)
        if not sound:
            return no_estimate(self, reasons=reasons or ("no samples",), num_unscored=num_unscored)
        losses = [min(MOST_NATS, -sum(sample.token_logprobs["answer"])) for sample in sound]
        units = [float(self._count(sample)) for sample in sound]
        subjects = [sample.subject for sample in sound]
        parts = {
            name: mean_replicates(values, subjects, bounds=ENDLESS)
            for name, values in (("loss", losses), ("units", units))
        }
        nats = derived(lambda means: means["loss"] / means["units"], parts)
        low, high, reason = interval(nats, bounds=ENDLESS)
        return Estimate(
            value=_perplexity(nats.value),
            low=None if low is None else _perplexity(low),
            high=None if high is None else _perplexity(high),
            num_scored=len(sound),
            num_unscored=num_unscored,
            higher_is_better=self.higher_is_better,
            range=self.range,
            constant=is_constant([loss / unit for loss, unit in zip(losses, units, strict=True)]),
            reasons=(*reasons, reason) if reason else reasons,
            num_subjects=nats.num_subjects,
        )

    def _count(self, sample: Sample) -> int:
        if self.per == "token":
            return len(sample.token_logprobs["answer"])
        return len(sample.answer.encode() if self.per == "byte" else re.split(r"\s+", sample.answer))


def _fault(sample: Sample) -> str:
    values = sample.token_logprobs.get("answer")
    if not values:
        return sample.unanswered or "no log-probs of the document"
    return NOT_FINITE if any(math.isnan(value) or value == math.inf for value in values) else ""


def _perplexity(nats: float) -> float:
    """At least 1, and at most what a float holds."""
    return max(1.0, math.exp(min(nats, math.log(MOST))))


METRIC = Perplexity()
