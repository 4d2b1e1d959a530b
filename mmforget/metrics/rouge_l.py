"""ROUGE-L of the answer part: how much of the reference, in order, a response holds before it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from mmforget.metrics.base import (
    MUSE_CODE,
    NAMED_PROFILES,
    OPENUNLEARNING,
    RATE,
    RWKU_CODE,
    TOFU_CODE,
    Kind,
    check_profile,
)
from mmforget.metrics.distinct_rouge import distinct_rouge_l
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.overlap import NO_WORDS, rouge_l, stems
from mmforget.metrics.responses import answer_part, first_sentence
from mmforget.types import Sample, Score

Part = Literal["recall", "precision", "f1"]


@dataclass(frozen=True)
class RougeL:
    """Longest common subsequence of Porter-stemmed words over the number of reference words, in [0, 1].

    Of a response only the part counts that answers; `rouge_l_response` takes all of it.

    Args:
        part: `recall` as above, `precision` over the response's words, or `f1`, the harmonic mean of both.

    Source: Lin, ROUGE (2004) through `rouge_score`; FIUBench (arXiv 2411.03554) and TOFU (arXiv 2401.06121) use recall.

    Profiles:
        released: the prediction is cut after its first full stop and is empty where it has none; reference uncut.
        clean: the prediction is cut after as many lines and full stops as the reference holds; words of any script
            count. Mends three faults: an answer with an inner full stop (7 % of FIUBench) could not reach 1, one
            without any counted as empty, and one in another script had no words. Recall is kept, so that numbers
            compare with the published ones; the cut keeps rambling from paying.
        tofu_paper: the whole response against the whole reference, 0 where that has no words; TOFU's code reports
            recall.
        openunlearning: the same; it reports recall for TOFU's sets and F1 for MUSE's (arXiv 2506.12618).
        muse_paper: the whole response, words as they are written, without stems; it reports F1 (arXiv 2407.06460).
        rwku_paper: different words as they are written, of all sentences together, as the package `rouge` of PyPI
            counts them; it reports recall (arXiv 2406.10890).
    """

    part: Part = "recall"

    name = "rouge_l"
    kind: ClassVar[Kind] = "gen"
    profiles = {
        "released": "FIUBench (arXiv 2411.03554), official code",
        "clean": "mmforget",
        "tofu_paper": TOFU_CODE,
        "openunlearning": OPENUNLEARNING,
        "muse_paper": MUSE_CODE,
        "rwku_paper": RWKU_CODE,
    }
    range = RATE
    higher_is_better = True
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """Overlap of the sample's answer with its response."""
        check_profile(self, profile)
        if sample.response is None:
            return Score(None, sample.subject, "no response")
        if profile not in NAMED_PROFILES and not stems(sample.answer, profile=profile):
            return Score(None, sample.subject, NO_WORDS, lacking=True)
        if profile == "rwku_paper":
            return Score(getattr(distinct_rouge_l(sample.answer, sample.response), self.part), sample.subject)
        found = rouge_l(sample.answer, self._prediction(sample, sample.response, profile=profile), profile=profile)
        return Score(getattr(found, self.part), sample.subject)

    def _prediction(self, sample: Sample, response: str, *, profile: str) -> str:
        """What counts of a response."""
        if profile in NAMED_PROFILES:
            return response
        return first_sentence(response) if profile == "released" else answer_part(response, reference=sample.answer)


METRIC = RougeL()
