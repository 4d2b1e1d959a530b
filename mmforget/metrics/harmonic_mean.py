"""Harmonic mean of the metrics that a document names: the utility of a protocol that has no formula of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mmforget.arguments import arguments_in
from mmforget.errors import UserError
from mmforget.metrics.base import OPENUNLEARNING, RATE, TOFU, TOFU_CODE, Component, check_profile
from mmforget.metrics.composite import combined, harmonic
from mmforget.metrics.estimate import no_estimate
from mmforget.types import Estimate

_PART = re.compile(r"(?P<metric>\w+)(?:\((?P<args>.*)\))?(?: on (?P<role>\w+))?")


@dataclass(frozen=True)
class HarmonicMean:
    """Harmonic mean of rates, in [0, 1]; one of them at 0 makes it 0, so that no ability buys back another.

    Source: model utility of TOFU (arXiv 2401.06121), of whatever metrics.

    Args:
        of: the metrics, as `rouge_l`, `rouge_l(part=f1)` or `rouge_l on retain`: a role of the document's `sets`, or
            a set by its own name; `utility` where it says none.

    Profiles:
        clean: the mean of the clean rates. Mends that what nobody measured would count as 0: all have to be there.
        tofu_paper: of the rates as TOFU's code has them.
        openunlearning: of the rates as OpenUnlearning (arXiv 2506.12618) has them; where one is 0, it is 0, as scipy's.
    """

    of: tuple[str, ...] = ("rouge_l",)

    name = "harmonic_mean"
    profiles = {"clean": TOFU, "tofu_paper": TOFU_CODE, "openunlearning": OPENUNLEARNING}
    range = RATE
    higher_is_better = True

    def __post_init__(self) -> None:
        if not self.components or len(set(self.of)) < len(self.of):
            raise UserError(f"of is {list(self.of)}; name each metric once, and at least one")

    @property
    def components(self) -> tuple[Component, ...]:
        return tuple(_component(text) for text in self.of)

    def combine(self, parts: Mapping[str, Estimate], *, profile: str = "clean") -> Estimate:
        """The mean of the components, all of which are required."""
        check_profile(self, profile)
        others = [key for key, part in parts.items() if part.range != RATE]
        if others:
            return no_estimate(self, reasons=(f"no rates from 0 to 1: {', '.join(others)}",))
        return combined(self, parts, formula=harmonic)


def _component(text: str) -> Component:
    found = _PART.fullmatch(text)
    if found is None:
        raise UserError(f"of: '{text}' is no metric; write METRIC, or METRIC(NAME=VALUE) on SET")
    args = arguments_in(found["args"] or "", owner=text)
    return Component(text, found["metric"], found["role"] or "utility", args=args)


METRIC = HarmonicMean()
