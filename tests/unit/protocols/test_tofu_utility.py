"""TOFU's model utility against scipy's harmonic mean of nine, and what it says where a part is missing."""

from __future__ import annotations

import pytest
from scipy.stats import hmean

from mmforget.metrics.base import METRICS, CompositeMetric
from mmforget.types import Estimate

# The official log of Phi-1.5 trained on all authors, as published: probability, ROUGE-L and truth ratio of three sets.
PHI = {
    "utility": (0.926088, 0.929253, 0.482683),
    "real_authors": (0.377360, 0.415667, 0.456009),
    "world_facts": (0.408998, 0.777350, 0.492337),
}


def parts() -> dict[str, Estimate]:
    keys = ("probability", "rouge", "truth")
    return {
        f"{role}/{key}": Estimate(value, num_scored=100, higher_is_better=True)
        for role, values in PHI.items()
        for key, value in zip(keys, values, strict=True)
    }


def utility() -> CompositeMetric:
    metric = METRICS.get("tofu_utility")
    assert isinstance(metric, CompositeMetric)
    return metric


@pytest.mark.parametrize("profile", ["clean", "tofu_paper", "openunlearning"])
def test_it_is_the_harmonic_mean_of_nine(profile: str) -> None:
    found = utility().combine(parts(), profile=profile).value
    assert found == pytest.approx(0.522074, abs=1e-6)
    assert found == pytest.approx(hmean([value for values in PHI.values() for value in values]))


def test_one_part_at_zero_makes_it_zero() -> None:
    gone = parts() | {"world_facts/rouge": Estimate(0.0, num_scored=100)}
    assert utility().combine(gone).value == 0.0


def test_a_part_that_nobody_measured_leaves_no_value() -> None:
    found = utility().combine({key: part for key, part in parts().items() if key != "real_authors/truth"})
    assert found.value is None
    assert "real_authors/truth: not measured" in found.reasons
