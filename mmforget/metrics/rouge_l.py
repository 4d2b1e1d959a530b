"""ROUGE-L recall: how much of the reference, in order, the generated answer holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmforget.metrics.base import Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.overlap import NO_WORDS, rouge_l, stems
from mmforget.metrics.responses import answer_part, first_sentence
from mmforget.types import Estimate, Sample, Score


@dataclass(frozen=True)
class RougeL:
    """Longest common subsequence of Porter-stemmed words over the number of reference words, in [0, 1].

    Source: Lin, ROUGE (2004) through `rouge_score`; FIUBench (arXiv 2411.03554) and TOFU (arXiv 2401.06121) use recall.

    Profiles:
        released: the prediction is cut after its first full stop and is empty where it has none; reference uncut.
        clean: the prediction is cut after as many lines and full stops as the reference holds; words of any script
            count. Mends three faults: an answer with an inner full stop (7 % of FIUBench) could not reach 1, one
            without any counted as empty, and one in another script had no words. Recall is kept, so that numbers
            compare with the published ones; the cut keeps rambling from paying.
    """

    name: str = "rouge_l"
    kind: Kind = "gen"
    profiles: tuple[str, ...] = ("released", "clean")
    range: tuple[float, float] = (0.0, 1.0)
    higher_is_better: bool | None = True

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """Recall of the sample's answer in its response."""
        check_profile(self, profile)
        if sample.response is None:
            return Score(None, sample.subject, "no response")
        if not stems(sample.answer, profile=profile):
            return Score(None, sample.subject, NO_WORDS, lacking=True)
        released = profile == "released"
        prediction = (
            first_sentence(sample.response) if released else answer_part(sample.response, reference=sample.answer)
        )
        return Score(rouge_l(sample.answer, prediction, profile=profile).recall, sample.subject)

    def aggregate(self, scores: Sequence[Score]) -> Estimate:
        """Mean recall with its 95 % interval by subject."""
        return mean_estimate(self, scores)


METRIC = RougeL()
