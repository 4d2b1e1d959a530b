"""ROUGE-L F1 of the answers to open questions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import RATE, Kind, check_profile
from mmforget.metrics.judged import CLOSED
from mmforget.metrics.overlap import NO_WORDS, rouge_l, stems
from mmforget.metrics.responses import answer_part
from mmforget.protocols.medforget.kinds import IS_CLOSED, mean_of_kind, task_of
from mmforget.types import Sample, Score


@dataclass(frozen=True)
class RougeLF1:
    """F1 of the longest common subsequence of Porter-stemmed words, in [0, 1], averaged over open questions.

    Questions of a closed kind (`extra["task"]` classification or cloze) do not count; `rouge_l` is the recall.

    Source: Lin, ROUGE (2004) through `rouge_score`; MedForget (arXiv 2512.09867), rouge_l_mean of generation.

    Profiles:
        released: of the whole response; 0 for an answer without any word.
        clean: of the response up to as many lines and full stops as the answer holds; words of any script count, and an
            answer without any is unscored. Mends losing precision for what a model says behind a right answer, and
            answers in other scripts.
    """

    name = "rouge_l_f1"
    kind: ClassVar[Kind] = "gen"
    profiles = {"released": "MedForget (arXiv 2512.09867), official code", "clean": "mmforget"}
    range = RATE
    higher_is_better = True
    aggregate = mean_of_kind

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """F1 between one open question's answer and its response."""
        check_profile(self, profile)
        return score_open(sample, profile=profile)


def score_open(sample: Sample, *, profile: str) -> Score:
    """F1 of one open question under a profile; also a part of `total_score`."""
    if task_of(sample) in CLOSED:
        return Score(None, sample.subject, IS_CLOSED, lacking=True)
    if sample.response is None:
        return Score(None, sample.subject, "no response")
    if profile == "released":
        return Score(rouge_l(sample.answer, sample.response, profile=profile).f1, sample.subject)
    if not stems(sample.answer):
        return Score(None, sample.subject, NO_WORDS, lacking=True)
    said = answer_part(sample.response, reference=sample.answer)
    return Score(rouge_l(sample.answer, said, profile=profile).f1, sample.subject)


METRIC = RougeLF1()
