"""Results by level, worked out by hand: a patient of four is forgotten, with studies below it.

ROUGE-L recall of `a b c d`: 1 in FULL, 1/2 in HALF, 0 in NONE.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from toy_benchmark import generated, toy

from mmforget.benchmark.document import Gate
from mmforget.benchmark.source import DataSource
from mmforget.benchmark.spec import Benchmark
from mmforget.evaluation.levels import gaps, level_of, level_results, relations
from mmforget.evaluation.record import score_record
from mmforget.results.schema import BenchmarkUse, LevelResult, Provenance, RunRecord
from mmforget.types import Sample

FULL, HALF, NONE = "a b c d", "a b x y", "x y z w"
LEVELS = ("institution", "patient", "study")
FORGET = {"a/p1/s1": [HALF, NONE], "a/p1/s2": [FULL]}
KEEP = {"a/p2/s1": [FULL], "b/p3/s1": [HALF], "a": [FULL]}


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    found = toy(tmp_path_factory.mktemp("toy") / "tasks")
    return replace(found, document=replace(found.document, levels=LEVELS))


def answered(set_name: str, places: dict[str, list[str]]) -> list[Sample]:
    """Samples at the places, each answered as said; the subject is the innermost part of the path."""
    paths = [(*place.split("/"),) for place, responses in places.items() for _ in responses]
    samples = generated(set_name, [response for responses in places.values() for response in responses])
    pairs = zip(samples, paths, strict=True)
    return [replace(sample, path=path, subject="/".join(path)) for sample, path in pairs]


SAMPLES = [*answered("forget", FORGET), *answered("keep", KEEP)]
TARGET = [replace(sample, response=FULL) for sample in SAMPLES]


def test_every_node_by_hand(benchmark: Benchmark) -> None:
    """a: (.5 + 0 + 1 + 1 + 1) / 5 = .7, its patient p1 .5, of that s1 .25 and s2 1; b, with another patient, .5."""
    results = level_results(benchmark, SAMPLES, target=TARGET, retain=None)
    metric = "rouge_l"
    assert results == [
        LevelResult("institution", ("a",), "ancestor", metric, "", 5, pytest.approx(0.7), 1.0, None),
        LevelResult("patient", ("a", "p1"), "inside", metric, "forget", 3, 0.5, 1.0, None),
        LevelResult("study", ("a", "p1", "s1"), "inside", metric, "forget", 2, 0.25, 1.0, None),
        LevelResult("study", ("a", "p1", "s2"), "inside", metric, "forget", 1, 1.0, 1.0, None),
        LevelResult("patient", ("a", "p2"), "sibling", metric, "keep", 1, 1.0, 1.0, None),
        LevelResult("study", ("a", "p2", "s1"), "sibling", metric, "keep", 1, 1.0, 1.0, None),
        LevelResult("institution", ("b",), "elsewhere", metric, "keep", 1, 0.5, 1.0, None),
        LevelResult("patient", ("b", "p3"), "elsewhere", metric, "keep", 1, 0.5, 1.0, None),
        LevelResult("study", ("b", "p3", "s1"), "elsewhere", metric, "keep", 1, 0.5, 1.0, None),
    ]


def test_relations_in_a_wood() -> None:
    """a is forgotten whole, y of b, and f deep in d; what is left beside them, and what is not beside any."""
    shares = {
        "a": 1.0, "a/x": 1.0, "b": 0.5, "b/y": 1.0, "b/z": 0.0, "b/z/q": 0.0, "c": 0.0, "c/w": 0.0,
        "d": 0.2, "d/e": 0.5, "d/e/f": 1.0, "d/g": 0.0,
    }  # fmt: skip
    found = relations({(*place.split("/"),): share for place, share in shares.items()})
    assert {"/".join(place): relation for place, relation in found.items()} == {
        "a": "inside", "a/x": "inside", "b": "ancestor", "b/y": "inside", "b/z": "sibling", "b/z/q": "sibling",
        "c": "sibling", "c/w": "sibling", "d": "ancestor", "d/e": "ancestor", "d/e/f": "inside", "d/g": "elsewhere",
    }  # fmt: skip


def test_parts_deeper_than_the_levels_are_not_nodes(benchmark: Benchmark) -> None:
    deep = [replace(sample, path=(*sample.path, "more", "and more")) for sample in SAMPLES]
    assert max(len(result.path) for result in level_results(benchmark, deep, target=None, retain=None)) == 3


def test_controls_and_other_kinds_do_not_count(benchmark: Benchmark) -> None:
    grey = [replace(sample, response=NONE, attack="blank_image", attempt=0) for sample in SAMPLES]
    (first, *_) = level_results(benchmark, [*SAMPLES, *grey], target=None, retain=None)
    assert (first.num, first.value, first.target) == (5, pytest.approx(0.7), None)


def test_the_gap_by_hand(benchmark: Benchmark) -> None:
    """Kept (1 + .5 + 1) / 3 = 5/6, forgotten 1/2. Of studies: kept 3/4. Of institutions nothing was forgotten."""
    found = gaps(benchmark, SAMPLES)
    assert list(found) == ["gap", "gap/institution", "gap/study"]
    assert found["gap"].value == pytest.approx(1 / 3)
    assert found["gap/study"].value == pytest.approx(1 / 4)
    assert (found["gap"].num_scored, found["gap"].range, found["gap"].higher_is_better) == (6, (-1.0, 1.0), True)
    assert (found["gap"].low, found["gap"].num_subjects) == (None, 2)
    none = found["gap/institution"]
    assert (none.value, none.reasons) == (None, ("no scored question of the forget set at level institution",))
    assert gaps(benchmark, TARGET)["gap"].value == 0.0


def test_the_interval_of_a_gap_adds_both_sets(benchmark: Benchmark) -> None:
    """Five subjects a set, one answer each: variances s^2 / 5 of .2 (kept) and .3 (forgotten) over 5 add up."""
    kept = {f"a/k{k}/s": [answer] for k, answer in enumerate([FULL, FULL, FULL, FULL, NONE])}
    lost = {f"a/f{k}/s": [answer] for k, answer in enumerate([FULL, NONE, NONE, FULL, NONE])}
    found = gaps(benchmark, [*answered("keep", kept), *answered("forget", lost)])["gap"]
    assert (found.value, found.num_subjects) == (pytest.approx(0.4), 5)
    assert found.low is not None
    assert found.high is not None
    half = 2.776 * math.sqrt(0.2 / 5 + 0.3 / 5)
    assert found.low == pytest.approx(0.4 - half, abs=0.25)
    assert -1 <= found.low < -0.1
    assert 0.75 < found.high <= 1


def test_a_row_may_say_what_level_it_is_about(benchmark: Benchmark) -> None:
    """A question about a patient asked of a study's picture; of patients 0 of the forgotten and 1 of the kept."""
    about = [replace(sample, extra={"level": "patient"}) for sample in SAMPLES if sample.response in (NONE, FULL)]
    about = [sample for sample in about if sample.path not in {("a",), ("a", "p1", "s2")}]
    found = gaps(benchmark, about)
    assert list(found) == ["gap", "gap/patient"]
    assert found["gap/patient"].value == 1.0
    assert found["gap/patient"].reasons == ("no interval: too few subjects (1; at least 4 are needed)",)


@pytest.mark.parametrize(
    "path, extra, level",
    [
        (("a",), {}, "institution"),
        (("a", "p", "s"), {}, "study"),
        (("a", "p", "s"), {"level": "patient"}, "patient"),
        (("a", "p"), {"level": "ward"}, "patient"),
        (("a", "p"), {"level": ["study"]}, "patient"),
        ((), {}, ""),
        (("a", "p", "s", "more"), {}, ""),
    ],
)
def test_the_level_of_a_question(path: tuple[str, ...], extra: dict[str, Any], level: str) -> None:
    assert level_of(replace(SAMPLES[0], path=path, extra=extra), levels=LEVELS) == level


def test_only_benchmarks_with_levels_have_them(benchmark: Benchmark) -> None:
    flat = replace(benchmark, document=replace(benchmark.document, levels=()))
    gate = Gate("model_utility", "clean", "keep", 0.1, 0.0)
    composite = replace(benchmark, document=replace(benchmark.document, gate=gate))
    for one in (flat, composite):
        assert level_results(one, SAMPLES, target=TARGET, retain=None) == []
        assert gaps(one, SAMPLES) == {}


def test_a_record_gets_its_levels_and_gap(benchmark: Benchmark) -> None:
    who = Provenance("0", None, None, {}, "3.11", "Linux", "cpu", 1, {}, (), "2026", 0.0, 0)
    record = RunRecord("unlearned", "ga", BenchmarkUse("toy", "two", "clean"), None, {}, {}, who)
    scored = score_record(
        record, bound=benchmark.bind(DataSource("synthetic")), samples=SAMPLES, target=TARGET, retain=None
    )
    assert list(scored.levels) == level_results(benchmark, SAMPLES, target=TARGET, retain=None)
    assert scored.headline["gap"].value == pytest.approx(1 / 3)


def test_a_training_that_diverged_is_a_collapse_whatever_was_answered(benchmark: Benchmark) -> None:
    who = Provenance("0", None, None, {}, "3.11", "Linux", "cpu", 1, {}, (), "2026", 0.0, 0)
    report = {"diverged": True, "num_steps": 7, "num_planned": 40}
    record = RunRecord("unlearned", "ga", BenchmarkUse("toy", "two", "clean"), None, {}, {}, who, training=report)
    scored = score_record(
        record, bound=benchmark.bind(DataSource("synthetic")), samples=SAMPLES, target=TARGET, retain=None
    )
    assert scored.verdict is not None
    assert (scored.verdict.collapsed, scored.verdict.codes[0]) == (True, "diverged")
    assert scored.verdict.reasons[0] == "collapsed: its training diverged and ended after 7 of 40 updates"
    assert scored.headline["overall"].value in (0.0, None)
