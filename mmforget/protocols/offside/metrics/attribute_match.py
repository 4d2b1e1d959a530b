"""Whether an answer states the right club, date, sum of money or count, without a judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from mmforget.metrics.base import RATE, Kind, check_profile
from mmforget.metrics.estimate import mean_estimate
from mmforget.metrics.responses import bare, normalised, stands_free
from mmforget.protocols.offside.values import TYPES, states
from mmforget.types import Sample, Score


@dataclass(frozen=True)
class AttributeMatch:
    """1 where the response states the reference's value of what is asked for and no other of its type, else 0.

    `EUR 29.00m`, `29 million euros` and `29,000,000 EUR` are one sum, `free transfer` is 0, `July 2023` is stated by
    `1 July 2023` and not the other way round; a club has to stand in the response. Questions for what has no type
    (position, foot, ...) take no part; a row that does not say what it asks for (`extra["attribute"]`) is matched when
    its whole answer stands in the response.

    Args:
        rumour: `visible` and `hidden` count only rows whose picture shows the rumour or does not
            (`extra["is_visible"]`).

    Source: the harness's own; OFFSIDE (arXiv 2510.22535) has a remote judge for what is right in an answer.

    Profiles:
        clean: as above. Mends that a wrong sum in the right sentence is most of a ROUGE, and that a judge costs.
    """

    rumour: Literal["any", "visible", "hidden"] = "any"

    name = "attribute_match"
    kind: ClassVar[Kind] = "gen"
    profiles = {"clean": "mmforget"}
    range = RATE
    higher_is_better = True
    aggregate = mean_estimate

    def score(self, sample: Sample, *, profile: str = "clean") -> Score:
        """1.0 or 0.0 for one response; without a value where the question asks for nothing that has a type."""
        check_profile(self, profile)
        if self.rumour != "any" and sample.extra.get("is_visible") is not (self.rumour == "visible"):
            return Score(None, sample.subject, f"no row of a {self.rumour} rumour", lacking=True)
        if sample.response is None:
            return Score(None, sample.subject, "no response")
        attribute = sample.extra.get("attribute")
        if attribute is None:
            return Score(float(stands_free(bare(sample.answer), normalised(sample.response))), sample.subject)
        if attribute not in TYPES:
            return Score(None, sample.subject, "asks for nothing that has a type", lacking=True)
        found = states(sample.response, answer=sample.answer, attribute=attribute, question=sample.question)
        if found is None:
            return Score(
                None, sample.subject, f"the reference has no {TYPES[attribute]} that can be read", lacking=True
            )
        return Score(float(found), sample.subject)


METRIC = AttributeMatch()
