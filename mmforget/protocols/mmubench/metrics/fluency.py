"""Fluency: perplexity of text as a model left behind by unlearning sees it, without the forgotten concept's tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.logprobs import NOT_FINITE
from mmforget.types import Sample, Score

MOST = 1e6
NUM_VOCABULARY = 32_000
"""LLaVA-1.5's, whatever the model, so that models with other vocabularies compare."""


@dataclass(frozen=True)
class Fluency:
    """exp(-mean log p) over the tokens of a text, at least 1, lower is better; cut off at a million.

    The row says where the concept's names stand (`extra["spans"]`, see `benchmark.mentions.Spans`): beginnings of the
    text are scored as further candidates, and the number of their tokens tells which tokens are a name's.

    Source: MMUBench (arXiv 2405.12523), "Fluency".

    Profiles:
        paper: text generated before unlearning, each token of the concept with probability 1/|V|.
        released: those tokens are left out. What the official script scores by this is the prompt, because its labels
            are cut to the prompt's length: a set whose texts are the prompts.
        clean: text generated before unlearning, the concept's tokens left out. Mends a constant that says nothing about
            the model, and the prompt in place of the answer.
    """

    name = "fluency"
    kind: ClassVar[Kind] = "prob"
    profiles = {
        "paper": "MMUBench (arXiv 2405.12523)",
        "released": "MMUBench (arXiv 2405.12523), official code",
        "clean": "mmforget",
    }
    range = (1.0, MOST)
    higher_is_better = False
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """Perplexity of one text."""
        check_profile(self, profile)
        answers = sample.with_role("answer")
        if not answers or not answers[0]:
            return Score(None, sample.subject, "no log-probs for 'answer'")
        if any(math.isnan(value) or value == math.inf for value in answers[0]):
            return Score(None, sample.subject, NOT_FINITE)
        named = concept_tokens(sample)
        if named is None:
            return Score(None, sample.subject, "no log-probs for where names stand")
        if profile == "paper":
            constant = -math.log(NUM_VOCABULARY)
            counted = [constant if at in named else min(0.0, value) for at, value in enumerate(answers[0])]
        else:
            counted = [min(0.0, value) for at, value in enumerate(answers[0]) if at not in named]
        if not counted:
            return Score(None, sample.subject, "every token is the concept's", lacking=True)
        return Score(math.exp(min(math.log(MOST), -math.fsum(counted) / len(counted))), sample.subject)


def concept_tokens(sample: Sample) -> frozenset[int] | None:
    """Positions of the answer's tokens that are the concept's; None where the beginnings that tell were not scored."""
    found: set[int] = set()
    for before, through in sample.extra.get("spans", ()):
        ends = [() if at < 0 else sample.token_logprobs.get(f"rephrased/{at}") for at in (before, through)]
        if ends[0] is None or ends[1] is None:
            return None
        found.update(range(len(ends[0]), len(ends[1])))
    return frozenset(found)


METRIC = Fluency()
