"""Share of classification questions whose right letter is answered."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from mmforget.metrics.base import RATE, Kind, check_profile
from mmforget.metrics.choices import chosen, options_of
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.responses import bare
from mmforget.types import Sample, Score

_RELEASED = re.compile(r"[Tt]he answer is ([A-D])")


@dataclass(frozen=True)
class OptionAccuracy:
    """1 where the response names the right option, else 0; chance is one over the number of options.

    Source: OFFSIDE (arXiv 2510.22535), accuracy of classification, official evaluation code.

    Profiles:
        released: the letter behind `the answer is` (or `The answer is`), or a response that is one letter from A to D;
            whatever else is said is wrong.
        clean: the letter however it is announced (`**B**`, `(b)`, `B: winger`), or the option's text alone; none and
            several are wrong. Mends right answers that count as forgotten because of how they are written.
    """

    name = "option_accuracy"
    kind: ClassVar[Kind] = "gen"
    profiles = {"released": "OFFSIDE (arXiv 2510.22535), official code", "clean": "mmforget"}
    range = RATE
    higher_is_better = True
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """1.0 or 0.0 for one response."""
        check_profile(self, profile)
        if sample.response is None:
            return Score(None, sample.subject, "no response")
        wanted = sample.answer.strip()
        if not wanted:
            return Score(None, sample.subject, "the reference answer is empty", lacking=True)
        if profile == "released":
            return Score(float(released_letter(sample.response) == wanted), sample.subject)
        options = options_of(sample.question)
        named = chosen(sample.response, options=options) if options else None
        return Score(float((named or bare(sample.response)) == (wanted if named else bare(wanted))), sample.subject)


def released_letter(response: str) -> str | None:
    """The letter that the official code reads; None where it reads none."""
    match = _RELEASED.search(response)
    said = response.strip()
    return match[1] if match else said if re.fullmatch("[A-D]", said) else None


METRIC = OptionAccuracy()
