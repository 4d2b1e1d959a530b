"""Short answers to questions of BIG-Bench Hard and TriviaQA: the same words, or how many of them."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from mmforget.metrics.base import RATE, RWKU_CODE, Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.types import Sample, Score

CONCLUSION = re.compile(r"[tT|]he answer is (.*?)\.")
ARTICLES = ("a", "an", "the")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class ShortAnswer:
    """Agreement of a response with the nearest of the right answers, without case, punctuation and articles, in [0, 1].

    Of a response to a question that wants reasoning what stands between `the answer is` and the next full stop counts;
    all of it where it does not say so.

    Args:
        part: `em`, 1 for the same words in the same order, else 0; `f1`, the harmonic mean of the shares of words in
            common.

    Source: RWKU (arXiv 2406.10890): EM of BBH, EM and F1 of TriviaQA, as SQuAD counts them.

    Profiles:
        rwku_paper: as above; a text without words equals any other such text, so that an answer `(A)` equals `a`, `the`
            and nothing.
        clean: articles count where a text has no other word. Mends answers that are a letter.
    """

    part: Literal["em", "f1"] = "em"

    name = "short_answer"
    kind: ClassVar[Kind] = "gen"
    profiles = {"rwku_paper": RWKU_CODE, "clean": "mmforget"}
    range = RATE
    higher_is_better = True
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """The best agreement with any right answer."""
        check_profile(self, profile)
        if sample.response is None:
            return Score(None, sample.subject, "no response")
        said = _words(_concluded(sample.response, sample=sample), profile=profile)
        answers = [_words(text, profile=profile) for text in sample.extra.get("answers") or [sample.answer]]
        agreement = _same if self.part == "em" else _f1
        return Score(max(agreement(said, answer) for answer in answers), sample.subject)


def _concluded(response: str, *, sample: Sample) -> str:
    if sample.extra.get("ask") != "reason":
        return response
    found = CONCLUSION.search(response)
    return found.group(1) if found else response


def _words(text: str, *, profile: str) -> list[str]:
    words = text.lower().translate(_PUNCTUATION).split()
    kept = [word for word in words if word not in ARTICLES]
    return kept if kept or profile == "rwku_paper" else words


def _same(said: Sequence[str], answer: Sequence[str]) -> float:
    return float(said == answer)


def _f1(said: Sequence[str], answer: Sequence[str]) -> float:
    common = sum((Counter(said) & Counter(answer)).values())
    return 2.0 * common / (len(said) + len(answer)) if said and answer else float(said == answer)


METRIC = ShortAnswer()
