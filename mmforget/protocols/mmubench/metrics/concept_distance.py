"""C-Dis: how far a concept's probability has moved from where it was before unlearning."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import Kind, Other, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.logprobs import NOT_FINITE
from mmforget.types import Estimate, Sample, Score

FLOOR = 1e-12
"""Probabilities after unlearning are taken for at least this: one that is 0 would be infinitely far away."""
LEAST, MOST = -1.0, 1000.0


@dataclass(frozen=True)
class ConceptDistance:
    """p_before log(p_before / p_now) of a concept's tokens, in nats; higher = further from what the model knew.

    A row is one place where the name could come: its candidates are the concept's names, of which the first token
    counts. `extra` says of which picture and place (`picture`, `place`, and `is_last` for the place after a lead-in).

    Source: MMUBench (arXiv 2405.12523), "C-Dis". As printed it has a minus in front, which would make it fall where the
    concept is forgotten; its tables do not.

    Profiles:
        paper: where the name has to come, mean over names, then over pictures. Below 0 where it became likelier.
        released: for each name the sum over all places of the prompt, its absolute value, mean over names, then over
            pictures. The official script sums over tokens and over the image's positions as well, and its lists of
            names hold looks and professions; here a place is a word.
    """

    name = "concept_distance"
    kind: ClassVar[Kind] = "prob"
    other: ClassVar[Other] = "target"
    profiles = {"paper": "MMUBench (arXiv 2405.12523)", "released": "MMUBench (arXiv 2405.12523), official code"}
    range = (LEAST, MOST)
    higher_is_better = True

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "paper") -> Estimate:
        """Mean over pictures with its 95 % interval by subject; `other` are the target's samples of the same rows."""
        check_profile(self, profile)
        before = {sample.id: sample for sample in other}
        scores = []
        for places in _by_picture(samples, is_last=profile == "paper").values():
            terms = [_terms(sample, before.get(sample.id)) for sample in places]
            fault = next((term for term in terms if isinstance(term, str)), None)
            if fault is not None:
                scores.append(Score(None, places[0].subject, fault))
                continue
            sums = [math.fsum(column) for column in zip(*terms, strict=True)]
            values = [abs(value) if profile == "released" else value for value in sums]
            mean = math.fsum(values) / len(values)
            scores.append(Score(min(MOST, max(LEAST, mean)), places[0].subject))
        return mean_estimate(self, scores)


def distance(before: float, now: float) -> float:
    """p log(p / q) of two log-probs, q at least `FLOOR`; 0 where p is 0."""
    p = math.exp(min(0.0, before))
    return p * (min(0.0, before) - max(math.log(FLOOR), min(0.0, now))) if p > 0.0 else 0.0


def _by_picture(samples: Sequence[Sample], *, is_last: bool) -> Mapping[tuple[str, str], list[Sample]]:
    """Samples of each picture: the place after the lead-in, or all others. A row that says neither is both."""
    found: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        if sample.extra.get("is_last", is_last) == is_last:
            found.setdefault((sample.subject, str(sample.extra.get("picture", sample.id))), []).append(sample)
    return found


def _terms(sample: Sample, before: Sample | None) -> list[float] | str:
    """The distance of every name at one place, or why there is none."""
    if before is None:
        return "the target model was not asked"
    names = [role for role in sample.token_logprobs if role == "answer" or role.startswith("rephrased/")]
    pairs = [(before.token_logprobs.get(role, ()), sample.token_logprobs[role]) for role in names]
    if not pairs or not all(first and second for first, second in pairs):
        return "no log-probs of the names"
    firsts = [(first[0], second[0]) for first, second in pairs]
    if any(math.isnan(value) or value == math.inf for one in pairs for part in one for value in part):
        return NOT_FINITE
    return [distance(first, second) for first, second in firsts]


METRIC = ConceptDistance()
