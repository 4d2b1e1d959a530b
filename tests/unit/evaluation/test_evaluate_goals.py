"""Protocols without a retain model: closeness to goals, a gate without room, and what counts as a failure.

ROUGE-L recall of `a b c d` in `a b x y` is 2/4. The target answers everything; see test_evaluate_numbers for the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
from toy_benchmark import collapse_reasons, generated, ruled, toy

from mmforget.benchmark.document import Gate, MetricUse, TaskLabel
from mmforget.benchmark.source import DataSource
from mmforget.benchmark.spec import Benchmark
from mmforget.evaluation.aggregate import aggregate
from mmforget.evaluation.gate import memorisation_gate
from mmforget.evaluation.headline import closenesses, headline
from mmforget.evaluation.measurements import Measurements
from mmforget.evaluation.samples import samples_of
from mmforget.metrics.base import METRICS, Component, counts_failures, label_of
from mmforget.metrics.degenerate import Degenerate
from mmforget.results.schema import GateResult, SetUse, Verdict
from mmforget.types import Estimate, Sample

FULL, HALF, NONE = "a b c d", "a b x y", "x y z w"
GOALS = (
    MetricUse("rouge_l", "forget", "lower", goal=0.0),
    MetricUse("exact_match", "forget", "lower", goal=0.0),
    MetricUse("degenerate", "forget", "lower"),
    MetricUse("rouge_l", "keep", "higher"),
    MetricUse("model_utility", "keep", "higher"),
)


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    """The toy benchmark as a protocol without a retain model: all that is asked of the forget set has a goal."""
    found = toy(tmp_path_factory.mktemp("toy") / "tasks")
    gate = Gate("rouge_l", "clean", "forget", 0.8)
    return changed(found, metrics=GOALS, stage_one={"target": "full"}, gate=gate)


def changed(benchmark: Benchmark, **changes: Any) -> Benchmark:
    return replace(benchmark, document=replace(benchmark.document, **changes))


def model(forget: Sequence[str], keep: str = FULL) -> list[Sample]:
    return [*generated("forget", forget), *generated("keep", [keep] * 6)]


TARGET = model([FULL] * 6)
GOOD = model([HALF] * 5 + [FULL])
RETAIN = model([HALF] * 6)


def found(benchmark: Benchmark, samples: list[Sample], **models: list[Sample] | None) -> dict[str, Estimate]:
    settings: dict[str, Any] = {"target": TARGET, "retain": None, "collapsed": False}
    return headline(benchmark, samples, **{**settings, **models}).estimates


def test_closeness_to_goals_by_hand(benchmark: Benchmark) -> None:
    """rouge_l (5 x .5 + 1) / 6 = 7/12, of which 5/12 of the way from 1 to 0; exact_match 1/6, so 5/6 of the way."""
    numbers = found(benchmark, GOOD)
    assert numbers["closeness/forget/rouge_l"].value == pytest.approx(5 / 12)
    assert numbers["closeness/forget/exact_match"].value == pytest.approx(5 / 6)
    assert "closeness/forget/degenerate" not in numbers
    forget = numbers["forget_score"]
    assert forget.value == pytest.approx(5 / 8)
    assert forget.reasons == ()
    assert forget.low is not None
    assert forget.high is not None
    assert 0 <= forget.low <= 5 / 8 <= forget.high <= 1
    assert numbers["overall"].value == pytest.approx(2 * (5 / 8) / (1 + 5 / 8))
    assert found(benchmark, TARGET)["forget_score"].value == 0.0
    assert found(benchmark, model([NONE] * 6))["forget_score"].value == 1.0


def test_a_goal_counts_whatever_the_retain_model_does(benchmark: Benchmark) -> None:
    assert found(benchmark, GOOD, retain=RETAIN)["closeness/forget/rouge_l"].value == pytest.approx(5 / 12)


def test_a_metric_that_is_better_when_lower_counts_with_a_goal(benchmark: Benchmark) -> None:
    """degenerate: target 0, goal .5, one empty answer of six: 1 - |1/6 - 1/2| / 1/2 = 1/3."""
    use = MetricUse("degenerate", "forget", "higher", goal=0.5)
    numbers = found(changed(benchmark, metrics=(use,)), model([FULL] * 5 + [""]))
    assert numbers["closeness/forget/degenerate"].value == pytest.approx(1 / 3)


def test_beyond_a_goal_is_less_close_and_no_overshoot(benchmark: Benchmark) -> None:
    """Goal .5, target 1: 0 lies as far beyond the goal as the target lies short of it."""
    half = changed(benchmark, metrics=(MetricUse("rouge_l", "forget", "lower", goal=0.5),))
    (part,) = closenesses(
        Measurements(half, model([NONE] * 6)), target=Measurements(half, TARGET), retain=Measurements(half, RETAIN)
    )
    assert (part.estimate.value, part.overshoot, part.goal, part.retain) == (0.0, 0.0, 0.5, None)


def test_no_room_to_a_goal_is_said(benchmark: Benchmark) -> None:
    near = changed(benchmark, metrics=(MetricUse("rouge_l", "forget", "lower", goal=0.98),))
    numbers = found(near, GOOD)
    assert numbers["forget_score"].value is None
    assert numbers["forget_score"].reasons == (
        "rouge_l on the forget set: no room between target (1.000) and goal (0.980)",
    )


def test_a_retain_model_is_missed_only_where_a_metric_needs_it(benchmark: Benchmark) -> None:
    """In a protocol with a retain model: all goals, some goals, none."""
    trained = changed(benchmark, stage_one={"target": "full", "retain": "kept"})
    assert found(trained, GOOD)["forget_score"].reasons == ()
    bare = MetricUse("rouge_l", "forget", "lower")
    some = found(changed(trained, metrics=(bare, GOALS[1])), GOOD)
    assert "closeness/forget/rouge_l" not in some
    assert some["forget_score"].value == pytest.approx(5 / 6)
    assert some["forget_score"].reasons == ("no retain model to compare with",)
    none = found(changed(trained, metrics=(bare,)), GOOD)
    assert (none["forget_score"].value, none["forget_score"].reasons) == (None, ("no retain model to compare with",))
    lost = found(trained, GOOD, target=None)
    assert lost["forget_score"].reasons == ("no target model to compare with",)


def test_without_a_retain_model_in_the_protocol_only_goals_count(benchmark: Benchmark) -> None:
    numbers = found(changed(benchmark, metrics=(MetricUse("rouge_l", "forget", "lower"), GOALS[1])), GOOD)
    assert [name for name in numbers if name.startswith("closeness")] == ["closeness/forget/exact_match"]
    assert numbers["forget_score"].reasons == ()


def test_a_gate_without_room_needs_no_retain_model(benchmark: Benchmark) -> None:
    passed = memorisation_gate(benchmark, target=TARGET, retain=None)
    assert passed == GateResult("rouge_l", "clean", "forget", 0.8, None, 1.0, None, True)
    assert memorisation_gate(benchmark, target=TARGET, retain=TARGET).passed
    weak = memorisation_gate(benchmark, target=RETAIN, retain=None)
    assert not weak.passed
    assert "0.500 in rouge_l (clean) on the forget set, at least 0.8 is needed" in weak.reason


def verdict(benchmark: Benchmark, samples: list[Sample]) -> Verdict:
    collapsed = bool(collapse_reasons(benchmark, samples, target=TARGET))
    return ruled(
        benchmark.bind(DataSource("synthetic")), samples, role="unlearned", target=TARGET, retain=None,
        headline=headline(benchmark, samples, target=TARGET, retain=None, collapsed=collapsed).estimates,
        gate=memorisation_gate(benchmark, target=TARGET, retain=None), sets={"forget": SetUse(6, 6)},
    )  # fmt: skip


def test_no_retain_model_is_no_refusal_where_the_protocol_has_none(benchmark: Benchmark) -> None:
    """It keeps a verdict from being decided; nothing is said of forgetting beyond what it should."""
    for samples in (model(["I do not know."] * 6), GOOD, TARGET):
        found = verdict(benchmark, samples)
        assert (found.status, found.eligible, found.codes) == ("undecided", True, ("not_attacked", "no_base_rate"))
    refused = verdict(changed(benchmark, stage_one={"target": "full", "retain": "kept"}), GOOD)
    assert (refused.eligible, refused.reasons[0]) == (False, "no retain model to compare with")


@dataclass(frozen=True)
class Harmful(Degenerate):
    """A rate that a judge gives."""

    label: str = "harm"


def declared(**changes: Any) -> Degenerate:
    """`degenerate` as it would be if it said something else about itself."""
    kind: type[Degenerate] = type("Changed", (Degenerate,), changes)
    return kind()


def test_what_counts_as_a_failure() -> None:
    assert counts_failures(Degenerate())
    assert not counts_failures(Harmful())
    assert not counts_failures(declared(range=(0.0, 50.0)))
    assert not counts_failures(declared(higher_is_better=None))
    assert not counts_failures(declared(kind="prob"))
    assert not counts_failures(METRICS.get("model_utility"))
    assert (label_of(Harmful()), label_of(Degenerate())) == ("harm", None)


def test_what_is_asked_for_is_no_collapse(benchmark: Benchmark) -> None:
    """Empty answers on the utility set are a collapse, unless the benchmark sets a goal for them."""
    silent = model([FULL] * 6, keep="")
    use = MetricUse("degenerate", "forget", "higher", goal=1.0)
    assert any("count as degenerate" in reason for reason in collapse_reasons(benchmark, silent, target=TARGET))
    asked = changed(benchmark, metrics=(*GOALS, use))
    assert not any("degenerate" in reason for reason in collapse_reasons(asked, silent, target=TARGET))


@dataclass(frozen=True)
class Same:
    """The number of responses that are those of the other group, for any group a metric may name."""

    other: Any
    name: str = "same"
    kind: Any = "gen"
    profiles: tuple[str, ...] = ("clean",)
    range: tuple[float, float] = (0.0, 100.0)
    higher_is_better: bool | None = None

    def compare(self, samples: Sequence[Sample], other: Sequence[Sample], *, profile: str = "clean") -> Estimate:
        pairs = zip(samples, other, strict=True)
        return Estimate(float(sum(one.response == two.response for one, two in pairs)))


@pytest.mark.parametrize("other, same", [("target", 1.0), ("retain_model", 5.0), ("itself", 6.0)])
def test_reference_metrics_compare_with_the_group_they_name(benchmark: Benchmark, other: str, same: float) -> None:
    measured = Measurements(benchmark, GOOD, RETAIN, TARGET)
    (task,) = measured.tasks("forget", "gen")
    assert measured.estimate(Same(other), task=task, profile="clean").value == same


def test_a_missing_target_is_said(benchmark: Benchmark) -> None:
    measured = Measurements(benchmark, GOOD)
    (task,) = measured.tasks("forget", "gen")
    estimate = measured.estimate(Same("target"), task=task, profile="clean")
    assert (estimate.value, estimate.reasons) == (None, ("no target model to compare with",))


@dataclass(frozen=True)
class Sums:
    """A composite of one component."""

    components: tuple[Component, ...]
    name: str = "sums"
    profiles: tuple[str, ...] = ("clean",)
    range: tuple[float, float] = (0.0, 1.0)
    higher_is_better: bool | None = True

    def combine(self, parts: Mapping[str, Estimate], *, profile: str = "clean") -> Estimate:
        return next(iter(parts.values()))


@pytest.mark.parametrize("role, value", [("forget", 7 / 12), ("harmless", 1.0), ("keep", 1.0), ("nowhere", None)])
def test_a_component_is_measured_on_a_role_or_a_set(benchmark: Benchmark, role: str, value: float | None) -> None:
    """`forget` and `harmless` are roles of the document, `keep` is a set that plays other roles."""
    known = changed(benchmark, sets={**benchmark.document.sets, "harmless": "keep"})
    metric = Sums((Component("part", "rouge_l", role),))
    parts, _ = Measurements(known, GOOD).components(metric, profile="clean")
    assert [part.value for part in parts.values()] == ([] if value is None else [pytest.approx(value)])


def test_aggregation_hands_the_target_on(benchmark: Benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(METRICS), "get", lambda self, name: Same("target"))
    only = changed(benchmark, metrics=(MetricUse("same", "forget", "higher"),))
    (result,) = aggregate(only, GOOD, target=TARGET)
    assert result.estimate.value == 1.0


@pytest.mark.parametrize(
    "text, extra", [('{"level": "patient", "pair": 3}', {"level": "patient", "pair": 3}), ("", {})]
)
def test_samples_carry_what_else_the_row_says(text: str, extra: dict[str, Any]) -> None:
    row = {"id": "1", "subject": "a", "question": "?", "answer": "!", "keywords": [], "path": ["a"], "extra": text}
    request = SimpleNamespace(doc_id=0, idx=0, doc=row)
    label = TaskLabel("toy", "forget", "gen", "image")
    (sample,) = samples_of("toy_forget_gen", label=label, requests=[request], answers=["x"])
    assert (sample.extra, sample.path, sample.response) == (extra, ("a",), "x")
