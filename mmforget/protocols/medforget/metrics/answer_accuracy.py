"""Share of closed questions (classification, cloze) that are answered right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import RATE, Kind, check_profile
from mmforget.metrics.overlap import rouge_l
from mmforget.metrics.responses import bare
from mmforget.protocols.medforget.kinds import IS_OPEN, OPEN, is_right, mean_of_kind, task_of
from mmforget.types import Sample, Score


@dataclass(frozen=True)
class AnswerAccuracy:
    """1 where a closed question is answered right, else 0; open questions (`extra["task"]` generation) do not count.

    Source: MedForget (arXiv 2512.09867), accuracy of its evaluation code.

    Profiles:
        released: right is a ROUGE-L F1 of exactly 1 between answer and whole response, so case, punctuation and plurals
            do not matter and everything else does; an answer without any word, e.g. in another script, is always wrong.
        clean: right is the option's letter, alone, with its text or announced (`The answer is **B**`), or its text
            alone; in a cloze the missing words, alone or in their sentence; compared as `exact_match` does, after
            cutting what follows the answer. Mends counting `B` for `B) nodule`, and going on after a right answer, as
            forgotten. An answer without any letter or digit left is unscored.
    """

    name = "answer_accuracy"
    kind: ClassVar[Kind] = "gen"
    profiles = {"released": "MedForget (arXiv 2512.09867), official code", "clean": "mmforget"}
    range = RATE
    higher_is_better = True
    aggregate = mean_of_kind

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """1.0 or 0.0 for one closed question."""
        check_profile(self, profile)
        if task_of(sample) == OPEN:
            return Score(None, sample.subject, IS_OPEN, lacking=True)
        if sample.response is None:
            return Score(None, sample.subject, "no response")
        if profile == "released":
            return Score(float(rouge_l(sample.answer, sample.response, profile=profile).f1 == 1.0), sample.subject)
        if not bare(sample.answer):
            return Score(None, sample.subject, "the reference answer is empty", lacking=True)
        return Score(float(is_right(sample, sample.response)), sample.subject)


METRIC = AnswerAccuracy()
