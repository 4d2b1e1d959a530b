"""Metrics that compare with the holdout set and read the retain model's log-probs find both by themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_benchmark import scored, write_toy

from mmforget.benchmark.find import find
from mmforget.benchmark.spec import Benchmark
from mmforget.evaluation.aggregate import aggregate
from mmforget.types import Estimate, Sample

USE = "      - {metric: mia_auc, set: forget, direction: retain_model}\n"
MEMBERS, OTHERS = (-0.1, -0.2, -0.3, -0.6), (-0.5, -0.9, -0.7, -0.8)
KNOWN = [*scored("forget", MEMBERS), *scored("others", OTHERS)]
NEVER_SEEN = [*scored("forget", (-0.5, -0.9, -0.6, -0.8)), *scored("others", (-0.7, -0.55, -0.95, -0.65))]
"""Of 16 pairs the forget set's answer is the likelier one in 15 of the first model's, and in 9 of the second's."""


def benchmark(folder: Path, *uses: str) -> Benchmark:
    write_toy(folder)
    document = (folder / "toy.yaml").read_text()
    named = "".join(USE.replace("metric: mia_auc", f"metric: {use}") for use in uses)
    (folder / "toy.yaml").write_text(document.replace(USE, named))
    return find("toy", [folder])


def found(folder: Path, use: str, *, retain: list[Sample] | None) -> Estimate:
    """The clean estimate of a metric for the model that knows the forget set."""
    results = aggregate(benchmark(folder, use), KNOWN, retain=retain)
    name = use.partition(",")[0]
    (one,) = [result.estimate for result in results if result.name.startswith(name) and result.profile == "clean"]
    return one


def test_privleak_compares_both_areas(tmp_path: Path) -> None:
    """a = 1/16 and r = 7/16: (1 - 7) / 7 of 100 %."""
    assert found(tmp_path, "privleak", retain=NEVER_SEEN).value == pytest.approx(-600 / 7)


def test_the_reference_attack_takes_away_what_the_retain_model_expects(tmp_path: Path) -> None:
    """Differences .4, .7, .3, .2 of the forget set, .2, -.35, .25, -.15 of the others: 15 of 16 pairs and a tie.

    The tie of .2 with .2 counts half, and .2 is below .25: of its four pairs 2.5 are won, of the others' twelve all.
    """
    assert found(tmp_path, "mia_auc_reference", retain=NEVER_SEEN).value == pytest.approx((12 + 2.5) / 16)


@pytest.mark.parametrize("use", ["privleak", "mia_auc_reference"])
def test_without_a_retain_model_there_is_no_value(tmp_path: Path, use: str) -> None:
    estimate = found(tmp_path, use, retain=None)
    assert estimate.value is None
    assert estimate.reasons == ("no retain model to compare with",)


def test_a_published_constant_needs_no_retain_model(tmp_path: Path) -> None:
    estimate = found(tmp_path, "privleak, args: {retrained: 0.5}", retain=None)
    assert estimate.value == pytest.approx(-87.5)


def test_named_profiles_are_computed_where_the_document_names_them(tmp_path: Path) -> None:
    both = benchmark(tmp_path, "probability", "probability, profiles: [tofu_paper]")
    profiles = [one.profile for one in aggregate(both, KNOWN) if one.name == "probability"]
    assert profiles == ["clean", "released", "clean", "tofu_paper"]
