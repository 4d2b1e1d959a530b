"""Utility where a concept is forgotten: other concepts, facts in text, and answers that are language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mmforget.metrics.base import RATE, Component, check_profile
from mmforget.metrics.composite import combined, harmonic
from mmforget.types import Estimate


@dataclass(frozen=True)
class ConceptUtility:
    """Harmonic mean of specificity, facts and diversity, in [0, 1]: none of them can be bought with the others.

    Specificity is the share of other concepts that are named from their pictures (`keyword_em`), facts the ROUGE-L
    recall of what is true of the forgotten concept, asked in text, and diversity that of the answers on specificity.

    Source: the harness's own, of aspects that MMUBench (arXiv 2405.12523) reports apart. There specificity is a mean of
    eight public benchmarks, which are no part of its files.

    Profiles:
        clean: as above; what was not measured is left out and named. Mends a table in which a model that answers
            nothing is best by what it no longer says.
    """

    name = "concept_utility"
    profiles = {"clean": "mmforget"}
    range = RATE
    higher_is_better = True
    components = (
        Component("specificity", "keyword_em", "utility", required=False),
        Component("facts", "rouge_l", "facts", required=False),
        Component("diversity", "diversity", "utility"),
    )

    def combine(self, parts: Mapping[str, Estimate], *, profile: str = "clean") -> Estimate:
        """Harmonic mean of the components."""
        check_profile(self, profile)
        return combined(self, parts, formula=harmonic)


METRIC = ConceptUtility()
